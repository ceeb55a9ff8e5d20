// The page of a heap: its parts over one common state. Every action changes the state, and everything shown is computed
// from the state alone, so a link to the page shows the same again.
//
//   measure   which number of the rows            view      down, up (inverted)
//   at        the moment that is shown            against   the moment that it is compared with; -1: none
//   zoom      a node of the graph                 search    what is looked for
//   sort      a column, "-" before it: ascending  show      graph or outline
//   row       the chosen stack              verdict   the kind of blocks that count; empty: all
//   colour    module or verdict             holders   the form of their tree: outline or graph
//   holder    a node of the holders' tree

const data = new HeapData(JSON.parse(document.getElementById('data').textContent));
const lastMoment = data.moments.length - 1;
/** A log may give the number of blocks but not their sizes: for all blocks, or for some. */
/** Null if no input has a verdict. */
const verdicts = data.raw.verdicts ? new Verdicts(data) : null;
const unknownSizes = data.columns.blocksOfUnknownSize;
const isAnySizeKnown = !unknownSizes || data.columns.bytes.some(value => value > 0);
const bytesOf = (bytes, unknown) => !unknown ? grouped(bytes) : bytes > 0 ? `at least ${grouped(bytes)}` : 'not known';
/** The quantities for which rows have columns. Measures are those that add up, so that graphs can show them. */
const quantities = data.raw.quantities.filter(({key}) => data.columns[key]);
const measures = quantities.filter(({key, isSum}) => isSum && (key !== 'bytes' || isAnySizeKnown)).map(({key,
    title}) => [key, title]);
const quantityText = ({key, unit}, row) => key === 'bytes' ? bytesOf(data.columns.bytes[row], unknownSizes?.[row])
    : data.columns[key][row] < 0                           ? '–'
    : unit === 'seconds'                                   ? duration(data.columns[key][row] / 1000)
                                                           : grouped(data.columns[key][row]);
const state = new State({
    measure: measures.some(([key]) => key === data.raw.sort) ? data.raw.sort : measures[0][0],
    view: 'down',
    show: 'graph',
    at: lastMoment,
    against: data.isDiff ? 0 : -1,
    zoom: 0,
    search: '',
    sort: '',
    row: -1,
    width: 'change',
    verdict: '',
    colour: verdicts ? 'verdict' : 'module',
    holders: 'outline',
    holder: 0
});

const trees = {};
/** What follows from the state: every part reads it; it is computed once for each state. */
let current = null;
function work() {
    const v = state.values;
    const within = (value, low, high, otherwise) => value >= low && value <= high ? value : otherwise;
    const at = within(v.at, 0, lastMoment, lastMoment);
    let against = within(v.against, 0, lastMoment, -1);
    if (against === at) against = -1;
    const isEnd = at === lastMoment || lastMoment < 0;
    const isGrowth = against >= 0;
    let measure = measures.some(([key]) => key === v.measure) ? v.measure : measures[0][0];
    // For other moments, and for growth, only live bytes and blocks are known.
    if ((isGrowth || !isEnd) && measure !== 'blocks') measure = isAnySizeKnown ? 'bytes' : 'blocks';
    // Verdicts exist only for blocks that are live at the end.
    const isJudged = verdicts !== null && isEnd && !isGrowth;
    const verdict = isJudged && verdicts.choices.some(([value]) => value === v.verdict) ? v.verdict : '';
    if (verdict && measure !== 'blocks') measure = 'bytes';
    const held = verdict ? verdicts.held(verdict) : isEnd ? data.columns : data.at(at);
    const after = verdict ? held[measure] : isGrowth || !isEnd ? data.at(at)[measure] : data.columns[measure];
    const before = isGrowth ? data.at(against)[measure] : null;
    const view = v.view === 'up' ? 'up' : 'down';
    const tree = trees[view] ??= new CallTree(data, view);
    const zoom = within(v.zoom, 0, tree.count - 1, 0);
    const search = matcher(v.search);
    const functions = data.functions;
    const matches = search.test ? Uint8Array.from(functions.name,
                        (name, number) => search.test(name) || search.test(functions.modulePath(number)) ? 1 : 0)
                                : null;

    const change = isGrowth ? after.map((value, row) => value - before[row]) : null;
    const isChange = isGrowth && v.width !== 'size';
    const widthOfRow = !isGrowth ? after
        : isChange               ? change.map(Math.abs)
                                 : after.map((value, row) => Math.max(value, before[row]));
    const widths = tree.sums(widthOfRow);
    const changes = isGrowth ? tree.sums(change) : null;
    const values = tree.sums(after);
    const ofVerdicts = isJudged && (measure === 'bytes' || measure === 'blocks')
        ? verdicts.ofNodes(tree, verdict, measure === 'bytes' ? 'Bytes' : 'Blocks')
        : null;

    // The rows in the zoom that match the search in any frame and have a value to show.
    const inside = zoom > 0 ? tree.rowsThrough(zoom) : null;
    let hasMatch = null;
    if (matches) {
        const found = new Uint8Array(data.nodeParent.length);
        for (let node = 1; node < found.length; node++)
            found[node] = found[data.nodeParent[node]] || matches[functions.ofFrame[data.nodeFrame[node]]];
        hasMatch = data.rowNode.map(node => found[node]);
    }
    const rows = [];
    let shownSum = 0, matchedSum = 0;
    for (let row = 0; row < data.rowCount; row++) {
        if (hasMatch && hasMatch[row]) matchedSum += widthOfRow[row];
        if ((inside && !inside[row]) || (hasMatch && !hasMatch[row])) continue;
        // A stack without live bytes may have live blocks.
        if (isGrowth ? change[row] === 0 && data.at(at).blocks[row] === data.at(against).blocks[row]
                     : after[row] === 0 && !(measure === 'bytes' && isEnd && held.blocks[row] > 0))
            continue;
        rows.push(row);
        shownSum += (isGrowth ? change : after)[row];
    }
    return {
        at,
        against,
        isEnd,
        isGrowth,
        isChange,
        isJudged,
        verdict,
        held,
        ofVerdicts,
        measure,
        after,
        before,
        change,
        view,
        tree,
        zoom,
        search,
        matches,
        widths,
        changes,
        values,
        widthOfRow,
        rows,
        shownSum,
        matchedSum,
        isBytes: measure.endsWith('ytes'),
        noun: measure.endsWith('ytes') ? 'byte' : 'block',
        row: within(v.row, 0, data.rowCount - 1, -1)
    };
}

// ---- Words ----

const valueText = value => current.isBytes ? `${grouped(value)} bytes` : counted(value, 'block');
const momentName = number => data.moments[number]?.label ?? 'the end';
const measureName = () => measures.find(([key]) => key === current.measure)?.[1] ?? current.measure;

function details(node) {
    const {tree, widths, values, changes, isGrowth, isBytes} = current;
    const unit = isBytes ? value => `${grouped(value)} (${size(value)})` : grouped;
    const module = node > 0 ? data.functions.modulePath(tree.function [node]) : '';
    const value = values[node];
    let lines;
    if (isGrowth) {
        const change = isBytes ? `${signed(changes[node])} (${size(changes[node])})` : signed(changes[node]);
        lines = [['Change', change], ['After', unit(value)], ['Before', unit(value - changes[node])]];
    } else {
        const zoomed = current.zoom > 0 ? ['Of what is zoomed to', share(value, widths[current.zoom])] : null;
        const said = (current.ofVerdicts ?? []).filter(([, sums]) => sums[node] > 0).map(([kind,
            sums]) => [verdictTitles[kind], `${unit(sums[node])}, ${share(sums[node], value)}`, 'key-' + kind]);
        lines = [[measureName(), unit(value)], ['Of all', share(value, widths[0])], zoomed, ...said];
    }
    const place = module ? make('p', {class: 'module', text: module}) : '';
    return [make('strong', {text: tree.name(node)}), place, tooltip.lines(lines)];
}

function sentence(node) {
    const {tree, widths, values, changes, isGrowth} = current;
    const module = tree.moduleName(node);
    return `${tree.name(node)}${module ? ' in ' + module : ''}: `
        + (isGrowth ? `${signed(changes[node])} ${current.noun}s, now ${valueText(values[node])}`
                    : `${valueText(values[node])}, ${share(values[node], widths[0])} of all`);
}

// ---- Colours: one hue per module for the eight largest; red and blue for growth; or one colour per verdict ----

const hueOfModule = new Map();
{
    const held = new Map();
    const column = data.columns.bytes;
    for (let row = 0; row < data.rowCount; row++) {
        const module = data.functions.module[data.functions.ofFrame[data.nodeFrame[data.rowNode[row]]]];
        held.set(module, (held.get(module) ?? 0) + column[row] + 1);
    }
    const spread = new Map();
    for (let node = 1; node < data.nodeFrame.length; node++) {
        const module = data.functions.module[data.functions.ofFrame[data.nodeFrame[node]]];
        spread.set(module, (spread.get(module) ?? 0) + 1);
    }
    const modules = [...spread.keys()]
                        .filter(module => module > 0)
                        .sort((a, b) => (held.get(b) ?? 0) - (held.get(a) ?? 0) || spread.get(b) - spread.get(a));
    modules.slice(0, 8).forEach((module, index) => hueOfModule.set(module, index + 1));
}
const isColouredByVerdict = () => state.values.colour === 'verdict' && current.ofVerdicts !== null;
let tints = new Map();
look.follow(() => {
    tints = new Map();
});
function tintOf(node) {
    const {tree, changes, widths, isGrowth} = current;
    if (isColouredByVerdict() && widths[node] > 0) {
        const all = current.ofVerdicts.reduce((sum, [, sums]) => sum + sums[node], 0);
        return current.ofVerdicts.map(([kind, sums]) => [all > 0 ? sums[node] / all : 0, tintOfVerdict(kind)]);
    }
    if (node === 0) return look.colour('box-root');
    if (isGrowth) {
        const lean = widths[node] > 0 ? changes[node] / widths[node] : 0;
        const strength = Math.min(100, Math.round(Math.abs(lean) * 100));
        const key = (lean < 0 ? 'box-shrunk' : 'box-grown') + strength;
        if (!tints.has(key))
            tints.set(key, mix(look.colour(lean < 0 ? 'box-shrunk' : 'box-grown'), look.colour('box-even'), strength));
        return tints.get(key);
    }
    const number = tree.function [node], hue = hueOfModule.get(data.functions.module[number]) ?? 0;
    const shade = (number * 2654435761 >>> 0) % 3;
    const key = hue * 3 + shade;
    if (!tints.has(key))
        tints.set(key,
            mix(hue ? look.colour('module-' + hue) : look.colour('box-other'), look.colour('surface'),
                [100, 90, 80][shade]));
    return tints.get(key);
}
function tintOfVerdict(kind) {
    const key = 'verdict-' + kind;
    if (!tints.has(key)) tints.set(key, look.colour(key));
    return tints.get(key);
}
/** Mixes `percent` of one colour into another, and returns a colour that the canvas accepts. */
function mix(colour, other, percent) {
    const probe = make('span', {hidden: true});
    probe.style.color = `color-mix(in oklab, ${colour} ${percent}%, ${other})`;
    document.body.append(probe);
    const mixed = getComputedStyle(probe).color;
    probe.remove();
    return mixed;
}

// ---- Parts ----

const zoomTo = node => {
    state.set({zoom: node, row: -1}, true);
    announce(node === 0 ? 'Zoomed out to all.' : `Zoomed to ${current.tree.name(node)}.`);
};
const flame = new FlameGraph({zoom: zoomTo, details, sentence}, {id: 'flame-canvas', help: 'flame-help'});
const outline = new Outline({
    zoom: zoomTo,
    sentence,
    texts: node => current.isGrowth ? [signed(current.changes[node]), '']
                                    : [grouped(current.values[node]), share(current.values[node], current.widths[0])]
},
    {id: 'outline', label: 'Calls, by what they hold'});
const holders = verdicts ? new HolderPanel(data, {
    zoom: holder => {
        state.set({holder}, true);
        announce(holder === 0 ? 'Zoomed out to all holders.' : `Zoomed to ${holders.tree.name(holder)}.`);
    },
    form: form => state.set({holders: form})
})
                         : null;
const pickSpan = (from, to) => {
    state.set(from === null ? {at: lastMoment, against: -1, sort: ''} : {at: to, against: from, sort: ''}, true);
    announce(from === null ? 'No span picked: what is live is shown.'
                           : `Growth from ${momentName(from)} to ${momentName(to)}.`);
};
const timeline = new Timeline(data, pickSpan);
const detail = new StackDetail(data, {search: name => state.set({search: name}), close: () => state.set({row: -1})});
const table = new StackTable({
    sort: key => {
        const [now, descending] = sorting();
        state.set({sort: key === now && descending ? '-' + key : key});
        table.toTop();
    },
    choose: row => state.set({row: row === state.values.row ? -1 : row}),
});

function sorting() {
    const text = state.values.sort;
    const key = text.replace(/^-/, '');
    const known = columns().filter(column => column.value).map(column => column.key);
    return known.includes(key) ? [key, !text.startsWith('-')] : [known[0], true];
}

function stackCell(row) {
    const frames = data.framesOf(row);
    const cell = make('span', {class: 'chain'});
    frames.slice(0, 4).forEach((frame, index) => cell.append(index > 0 ? ' ← ' : '',
                                   make('span', {class: index === 0 ? 'first' : '', text: data.frameName(frame)})));
    if (frames.length > 4) cell.append(' …');
    return cell;
}

function columns() {
    const stack = {key: 'stack', title: 'Stack, innermost call first', isWide: true, text: stackCell};
    if (current.isGrowth) {
        const {change, after, before, isBytes} = current;
        const most = current.rows.reduce((most, row) => Math.max(most, Math.abs(change[row])), 1);
        const other = isBytes ? 'blocks' : 'bytes';
        const otherChange = row => data.at(current.at)[other][row] - data.at(current.against)[other][row];
        const list = [
            {
                key: 'change',
                title: isBytes ? 'Change, bytes' : 'Change, blocks',
                text: row => signed(change[row]),
                value: row => change[row],
                part: row => change[row] / most
            },
            {
                key: 'otherChange',
                title: `Change, ${other}`,
                isMinor: true,
                text: row => signed(otherChange(row)),
                value: otherChange
            },
            {key: 'after', title: 'After', isMinor: true, text: row => grouped(after[row]), value: row => after[row]},
            {
                key: 'before',
                title: 'Before',
                isMinor: true,
                text: row => grouped(before[row]),
                value: row => before[row]
            },
        ];
        if (data.columns.shape && current.at === lastMoment && current.against === 0) {
            if (data.raw.rows.bytesAnHour.some(value => value !== null))
                list.push({
                    key: 'rate',
                    title: 'Bytes an hour',
                    isMinor: true,
                    text: row => Number.isNaN(data.columns.bytesAnHour[row])
                        ? '–'
                        : signed(Math.round(data.columns.bytesAnHour[row])),
                    value: row => data.columns.bytesAnHour[row]
                });
            if (data.moments.length > 2)
                list.push({
                    key: 'shape',
                    title: 'Shape',
                    isMinor: true,
                    text: row => data.strings[data.columns.shape[row]],
                    value: row => -data.columns.shape[row]
                });
        }
        return [...list, stack];
    }
    const {after, measure} = current;
    const all = current.widths[0];
    const list = [
        {
            key: measure,
            title: measureName(),
            text: row => measure === 'bytes' ? bytesOf(after[row], unknownSizes?.[row]) : grouped(after[row]),
            value: row => after[row],
            part: row => all ? after[row] / all : 0
        },
        {
            key: 'share',
            title: 'Share',
            isMinor: true,
            text: row => measure === 'bytes' && unknownSizes?.[row] ? '–' : share(after[row], all)
        }
    ];
    const {blocks, bytes} = current.held;
    if (measure !== 'blocks')
        list.push({
            key: 'blocks',
            title: 'Live blocks',
            isMinor: true,
            text: row => grouped(blocks[row]),
            value: row => blocks[row]
        });
    if (measure !== 'bytes')
        list.push({
            key: 'bytes',
            title: 'Live bytes',
            isMinor: true,
            text: row => bytesOf(bytes[row], unknownSizes?.[row]),
            value: row => bytes[row]
        });
    if (current.isJudged)
        list.push({
            key: 'verdict',
            title: 'Verdict',
            hint: 'The worst first',
            isText: true,
            text: row => verdicts.cell(row, current.verdict),
            value: row => verdicts.rank(row, current.verdict)
        });
    // For some of the blocks only their number and size are known.
    for (const quantity of current.isEnd && !current.verdict ? quantities : []) {
        const {key, short, hint} = quantity;
        if (short && key !== measure)
            list.push({
                key,
                title: short,
                hint,
                isMinor: true,
                text: row => quantityText(quantity, row),
                value: row => data.columns[key][row]
            });
    }
    return [...list, stack];
}

function figuresOf(row) {
    const figures = [];
    if (current.isGrowth)
        figures.push(['Change', `${signed(current.change[row])} ${current.noun}s`],
            [`At ${momentName(current.at)}`, valueText(current.after[row])],
            [`At ${momentName(current.against)}`, valueText(current.before[row])]);
    for (const quantity of quantities) {
        const text = quantityText(quantity, row);
        if (text !== '–') figures.push([quantity.title, text]);
    }
    if (verdicts) figures.push(...verdicts.figures(row));
    if (data.columns.shape) figures.push(['Shape over the moments', data.strings[data.columns.shape[row]]]);
    return figures;
}

// ---- The page ----

function facts() {
    const {inputs} = data.raw;
    const pairs = inputs.length === 1 ? inputPairs(inputs[0]) : [];
    return section('facts', inputs.length === 1 ? 'Process' : 'Inputs', [],
        inputs.length === 1
            ? make('dl', {class: 'facts'},
                ...pairs.map(([name, value]) => make('div', {}, make('dt', {text: name}), make('dd', {text: value}))))
            : make('div', {class: 'table-box'},
                make('table', {class: 'plain'},
                    make('thead', {},
                        make('tr', {},
                            ...['Program', 'PID', 'State', 'Live bytes', 'Live blocks', 'File'].map(
                                (head, index) => make('th', {
                                    scope: 'col',
                                    class: index === 1 || index === 3 || index === 4 ? 'number' : '',
                                    text: head
                                })))),
                    make('tbody', {},
                        ...inputs.map(
                            each => make('tr', {}, make('td', {text: baseName(each.program ?? '–')}),
                                make('td', {class: 'number', text: each.pid ?? '–'}), make('td', {text: each.state}),
                                make('td', {class: 'number', text: grouped(each.bytes)}),
                                make('td', {class: 'number', text: grouped(each.blocks)}),
                                make('td', {class: 'path', text: each.path})))))));
}

function inputPairs(input) {
    return [
        ['Program', input.program ?? 'not known'], input.arguments ? ['Arguments', input.arguments] : null,
        input.pid ? ['PID', String(input.pid)] : null, ['State', input.state],
        input.startedUnix ? ['Recorded from', `${moment(input.startedUnix)}, for ${duration(input.seconds)}`] : null,
        input.allocator ? ['Allocator', input.allocator] : null,
        input.depth ? ['Stacks', `at most ${counted(input.depth, 'frame')}`] : null,
        input.rssPeakBytes ? ['Resident, at most', `${grouped(input.rssPeakBytes)} bytes`] : null, ['File', input.path]
    ].filter(pair => pair);
}

/** The notes that a reader must know before trusting a number. */
function warnings() {
    const list = [...data.raw.warnings];
    for (const input of data.raw.inputs)
        for (const [what, count] of input.losses ?? [])
            list.push(`${grouped(count)} ${what}${data.raw.inputs.length > 1 ? ' (' + input.path + ')' : ''}.`);
    const left = data.raw.left;
    if (left.filtered > 0)
        list.push(`${counted(left.filtered, 'stack')} left out by filters${
            left.filteredBytes ? `, with ${grouped(left.filteredBytes)} bytes` : ''}.`);
    if (left.below > 0)
        list.push(`${counted(left.below, 'more stack')} below --top${
            left.belowBytes ? `, with ${grouped(left.belowBytes)} bytes` : ''}.`);
    if (left.suppressed > 0)
        list.push(`${counted(left.suppressed, 'stack')} suppressed, with ${grouped(left.suppressedBytes)} bytes.`);
    if (left.unchanged > 0)
        list.push(
            `${counted(left.unchanged, 'stack')} unchanged, with ${grouped(left.unchangedBytes)} bytes: not shown.`);
    if (data.raw.blocks) list.push(`Here: ${data.raw.blocks}.`);
    if (list.length === 0) return null;
    const items = make('ul', {}, ...list.map(text => make('li', {text})));
    return list.length <= 3
        ? make('div', {class: 'notes', role: 'note', id: 'notes'}, items)
        : make('details', {class: 'notes', id: 'notes'},
            make('summary', {text: `${grouped(list.length)} notes on what is missing here`}), items);
}

function tiles() {
    const t = data.raw.totals;
    const tile = (name, value, more, id) => make('div', {class: 'tile'}, make('dt', {text: name}),
        make('dd', {}, make('span', {class: 'figure', id, text: grouped(value)}),
            more ? make('span', {class: 'more', text: more}) : null));
    const sized = t.liveBlocks - (t.blocksOfUnknownSize ?? 0);
    const list = [
        tile('Live bytes', t.liveBytes,
            t.blocksOfUnknownSize ? `of ${counted(t.blocksOfUnknownSize, 'block')} not known` : size(t.liveBytes),
            'total-bytes'),
        tile('Live blocks', t.liveBlocks, sized > 0 ? `${grouped(t.liveBytes / sized)} bytes each` : '', 'total-blocks')
    ];
    if (t.blocksOfUnknownSize)
        list[0].querySelector('.figure').textContent = bytesOf(t.liveBytes, t.blocksOfUnknownSize);
    if (data.isDiff)
        list.push(tile('Bytes before', t.bytesBefore, `${signed(t.liveBytes - t.bytesBefore)} since`, 'total-before'),
            tile('Blocks before', t.blocksBefore, `${signed(t.liveBlocks - t.blocksBefore)} since`));
    else {
        if (t.peakBytes !== null) list.push(tile('Peak', t.peakBytes, size(t.peakBytes), 'total-peak'));
        if (t.allocatedBytes !== null)
            list.push(tile('Allocated, ever', t.allocatedBytes,
                `${counted(t.allocatedBlocks, 'block')}, ${share(t.freedBlocks, t.allocatedBlocks)} freed`,
                'total-allocated'));
    }
    list.push(tile('Unique stacks', t.uniqueStacks, '', 'total-stacks'));
    return make('dl', {class: 'tiles'}, ...list);
}

const searchField = make('input', {
    type: 'search',
    id: 'search',
    placeholder: 'Function, module, or /expression/',
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-label': 'Search functions and modules',
    oninput: () => {
        clearTimeout(searchField.timer);
        searchField.timer = setTimeout(() => {
            state.set({search: searchField.value});
            table.toTop();
        }, data.rowCount > 20000 ? 200 : 60);
    }
});
const measureField = make('select', {id: 'measure', onchange: () => state.set({measure: measureField.value, sort: ''})},
    ...measures.map(([value, text]) => make('option', {value, text})));
const momentFields = lastMoment > 0 ? ['at',
    'against'].map(key => make('select',
                         {id: key, onchange: event => state.set({[key]: Number(event.target.value), sort: ''}, true)},
                         key === 'against' ? make('option', {value: -1, text: 'nothing'}) : null,
                         ...data.moments.map((each, number) => make('option', {value: number, text: each.label}))))
                                    : [];
const found = make('span', {class: 'hint', id: 'found', role: 'status'});
const verdictField = verdicts
    ? make('select', {id: 'verdict', onchange: () => state.set({verdict: verdictField.value, sort: '', row: -1}, true)},
        ...verdicts.choices.map(([value, text]) => make('option', {value, text})))
    : null;
const colourSwitch =
    switcher('Colour', [['verdict', 'Colour: verdict'], ['module', 'Colour: module']], colour => state.set({colour}));
const viewSwitch =
    switcher('Direction', [['down', 'From the start'], ['up', 'Inverted']], view => state.set({view, zoom: 0}));
const showSwitch = switcher('Form', [['graph', 'Graph'], ['outline', 'Outline']], show => state.set({show}));
const widthSwitch =
    switcher('Width', [['change', 'Width: change'], ['size', 'Width: size']], width => state.set({width}));
const crumbs = new Crumbs(zoomTo);
const modules = make('div', {class: 'modules'});
const emptyGraph = make('p', {class: 'empty', hidden: true});
const count = make('span', {class: 'hint', id: 'count', role: 'status'});

function build() {
    const programs = [...new Set(data.raw.inputs.map(each => baseName(each.program ?? each.path)))];
    const first = data.raw.inputs[0];
    const title = programs.length === 1 ? programs[0] : `${grouped(data.raw.inputs.length)} inputs`;
    let line = programs.slice(0, 6).join(', ') + (programs.length > 6 ? ` and ${programs.length - 6} more` : '');
    if (data.isDiff) {
        const span = `${momentName(0)} → ${momentName(lastMoment)}`;
        line = `${counted(data.moments.length, 'moment')}: ${span}`;
    } else if (data.raw.inputs.length === 1) {
        const end = first.startedUnix ? moment(first.startedUnix + (first.seconds ?? 0)) : '';
        line = [first.pid ? `pid ${first.pid}` : '', first.state, end].filter(Boolean).join(' · ');
    }
    document.getElementById('masthead')
        .replaceChildren(make('a', {
            class: 'skip',
            href: '#stacks',
            text: 'Skip to the table of stacks',
            onclick: event => {
                event.preventDefault();
                document.getElementById('scroller').scrollIntoView();
                table.body.querySelector('[tabindex="0"]')?.focus();
            }
        }),
            make('div', {class: 'title'}, make('h1', {text: title}), make('p', {class: 'subtitle', text: line})),
            make('div', {class: 'tools'}, make('span', {class: 'brand', text: data.raw.tool}), look.switch()));
    const main = document.getElementById('main');
    const stacks = section('stacks', 'Stacks', [count], make('div', {class: 'split'}, table.element, detail.element));
    main.replaceChildren(...[warnings(), tiles(), verdicts?.tiles(), section('time', 'Timeline', [], timeline.element),
        make('div', {class: 'toolbar', role: 'search', id: 'toolbar'},
            make('div', {class: 'search'}, searchField, found), labelled('Measure', measureField),
            verdictField ? labelled('Verdict', verdictField) : null,
            ...(momentFields.length > 0 ? [labelled('At', momentFields[0]), labelled('compared with', momentFields[1])]
                                        : [])),
        section('graph', 'Flame graph', [colourSwitch, widthSwitch, viewSwitch, showSwitch], crumbs.element, modules,
            emptyGraph, flame.element, outline.element, make('p', {
                class: 'hint',
                id: 'flame-help',
                text: 'Click, or Enter: zoom. Arrows: move. Escape: zoom out. The outline has the same as a list.'
            })),
        holders?.element, stacks,
        data.raw.histograms ? section('shapes', 'Sizes, ages, lifetimes', [], histograms(data)) : null, facts()]
                             .filter(part => part));
    document.body.append(announcer);
    addEventListener('keydown', event => {
        if (event.key === '/' && !event.ctrlKey && !event.metaKey
            && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? '')) {
            event.preventDefault();
            searchField.focus();
            searchField.select();
        }
    });
}

function showModules() {
    const nameOf = module => baseName(data.functions.modulePaths[module]);
    const entries = current.isGrowth ? [['grew', 'key-grown'], ['shrank', 'key-shrunk']]
                                     : [...hueOfModule].map(([module, hue]) => [nameOf(module), 'key-module-' + hue]);
    const even = current.isChange ? 'as much of both' : 'unchanged';
    entries.push(current.isGrowth ? [even, 'key-even'] : ['others', 'key-other']);
    modules.replaceChildren(legend(isColouredByVerdict()
            ? current.ofVerdicts.map(([kind]) => [verdictTitles[kind].toLowerCase(), 'key-' + kind])
            : entries));
}

function show(changed) {
    current = work();
    const c = current;
    if (document.activeElement !== searchField) searchField.value = state.values.search;
    measureField.value = c.measure;
    for (const option of measureField.options)
        option.disabled =
            (c.isGrowth || !c.isEnd || c.verdict !== '') && option.value !== 'bytes' && option.value !== 'blocks';
    if (momentFields.length > 0) {
        momentFields[0].value = String(c.at);
        momentFields[1].value = String(c.against);
    }
    if (verdictField) {
        verdictField.value = c.verdict;
        verdictField.disabled = !c.isJudged;
    }
    colourSwitch.hidden = c.ofVerdicts === null;
    colourSwitch.show(isColouredByVerdict() ? 'verdict' : 'module');
    viewSwitch.show(c.view);
    showSwitch.show(state.values.show === 'outline' ? 'outline' : 'graph');
    widthSwitch.hidden = !c.isGrowth;
    widthSwitch.show(c.isChange ? 'change' : 'size');
    found.textContent = c.search.problem ?? (c.matches ? `${share(c.matchedSum, c.widths[0])} matched` : '');
    found.classList.toggle('problem', Boolean(c.search.problem));
    timeline.showSpan(c.isGrowth && !data.isDiff ? [Math.min(c.at, c.against), Math.max(c.at, c.against)] : null);

    const isOutline = state.values.show === 'outline';
    const isEmpty = !(c.widths[0] > 0);
    emptyGraph.hidden = !isEmpty;
    emptyGraph.textContent = c.isGrowth
        ? `No ${c.noun}s came or went between ${momentName(c.against)} and ${momentName(c.at)}.`
        : data.rowCount === 0 ? 'No stacks: every block that was booked has been freed, or the filters left none.'
                              : `No ${measureName().toLowerCase()}: nothing to draw.`;
    flame.element.hidden = isOutline || isEmpty;
    outline.element.hidden = !isOutline || isEmpty;
    flame.canvas.setAttribute('aria-label',
        `Flame graph of ${c.isGrowth ? 'growth in ' + c.noun + 's' : measureName().toLowerCase()}, ${
            c.view === 'up' ? 'inverted, from the allocating call' : 'from the start'}. ${sentence(c.zoom)}.`);
    flame.show({tree: c.tree, widths: c.widths, tint: tintOf, matches: c.matches, focus: c.zoom});
    if (isOutline && (!changed || ['show', 'view', 'measure', 'at', 'against', 'zoom', 'width',
            'verdict'].some(key => changed.has(key))))
        outline.show({tree: c.tree, widths: c.widths, focus: c.zoom});
    crumbs.show(c.tree, c.zoom);
    showModules();

    const list = columns();
    const [key, isDescending] = sorting();
    const column = list.find(each => each.key === key);
    const keys = Float64Array.from({length: data.rowCount}, (_, row) => {
        const value = column.value(row);
        return Number.isNaN(value) ? -Infinity : value;
    });
    const rows =
        Int32Array.from(c.rows).sort((a, b) => (isDescending ? keys[b] - keys[a] : keys[a] - keys[b]) || a - b);
    holders?.show({
        form: state.values.holders,
        zoom: state.values.holder,
        test: c.search.test,
        isNew: !changed || changed.has('holders') || changed.has('holder')
    });
    table.show({columns: list, rows, sort: key, isDescending, chosen: c.row});
    count.textContent =
        `${counted(rows.length, 'stack')}${rows.length < data.rowCount ? ` of ${grouped(data.rowCount)}` : ''} · ${
            c.isGrowth ? signed(c.shownSum) + ' ' + c.noun + 's' : valueText(c.shownSum)}`
        + (rows.length > table.mostRows ? ` · the first ${grouped(table.mostRows)} can be scrolled to` : '')
        + (c.zoom > 0 ? ` · within ${c.tree.name(c.zoom)}` : '');
    table.element.classList.toggle('is-empty', rows.length === 0);
    detail.show(c.row, c.row >= 0 ? figuresOf(c.row) : []);
}

current = work();
build();
show(null);
state.follow(show);
document.documentElement.dataset.ready = 'true';
requestAnimationFrame(() => performance.mark('heapsum-drawn'));
