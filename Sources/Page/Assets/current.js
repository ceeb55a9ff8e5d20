// The state of a heap's page, and what follows from it. `work` is one function from the state to all that is shown:
// the moments, the measure, the tree and its sums, and the rows.
//
//   measure   which number of the rows            view      down, up (inverted)
//   at        the moment that is shown            against   the moment that it is compared with; -1: none
//   zoom      a node of the graph                 search    what is looked for
//   sort      a column, "-" before it: ascending  show      graph or outline
//   row       the chosen stack              verdict   the kind of blocks that count; empty: all
//   colour    module or verdict             holders   the form of their tree: outline or graph
//   holder    a node of the holders' tree     cell      a cell of the map of pages

const data = new HeapData(JSON.parse(document.getElementById('data').textContent));
const lastMoment = data.moments.length - 1;
/** Null if no input has a verdict. */
const verdicts = data.raw.verdicts ? new Verdicts(data) : null;
/** A log may give the number of blocks but not their sizes: for all blocks, or for some. */
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
    holder: 0,
    cell: -1
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
