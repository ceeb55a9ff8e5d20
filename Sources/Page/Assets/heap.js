// The page of a heap: its parts over one common state (current.js). Every action changes the state, and everything
// shown is computed from the state alone, so a link to the page shows the same again.

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
const pageMap = data.raw.map ? new PageMap(data, {
    choose: cell => state.set({cell}, true),
    open: row => {
        state.set({row}, true);
        document.getElementById('detail').scrollIntoView({block: 'nearest'});
    }
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
        holders?.element, stacks, pageMap?.element,
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
    if (!changed || changed.has('cell')) pageMap?.show(state.values.cell);
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
