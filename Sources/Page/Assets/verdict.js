// Verdicts on blocks, if an image has them: their words and colours, and sums over the chosen kinds. The worst kind
// comes first everywhere, so that a reader can also tell the kinds by their order.

const verdictTitles = {
    definite: 'Definitely lost',
    indirect: 'Indirectly lost',
    possible: 'Possibly lost',
    reachable: 'Reachable',
    unknown: 'Without a verdict'
};
const verdictKinds = Object.keys(verdictTitles);
const verdictMeanings = {
    definite: 'nothing leads to them',
    indirect: 'only lost blocks lead to them',
    possible: 'only pointers into their insides do',
    reachable: 'the program can still free them',
    unknown: 'newer, or of an input without one'
};

class Verdicts {
    constructor(data) {
        this.data = data;
        this.totals = data.raw.verdicts.totals;
        /** The kinds to choose from: those that some block has. */
        this.kinds = verdictKinds.filter(kind => data.columns[kind + 'Blocks'].some(value => value > 0));
        this.sums = new Map();
    }

    /** The field's choices: [value, text]. */
    get choices() {
        const lost = this.kinds.filter(kind => kind !== 'reachable' && kind !== 'unknown');
        return [
            ['', 'all'], lost.length > 1 ? ['lost', 'lost, all three'] : null,
            ...this.kinds.map(kind => [kind, verdictTitles[kind].toLowerCase()])
        ].filter(Boolean);
    }

    /** The kinds that a choice means. */
    kindsOf(choice) {
        if (choice === 'lost') return ['definite', 'indirect', 'possible'];
        return verdictKinds.includes(choice) ? [choice] : verdictKinds;
    }

    /** What each row holds of the chosen kinds: { bytes, blocks }. */
    held(choice) {
        if (!choice) return this.data.columns;
        const sum = unit => {
            const columns = this.kindsOf(choice).map(kind => this.data.columns[kind + unit]);
            return columns[0].map((_, row) => columns.reduce((total, column) => total + column[row], 0));
        };
        if (!this.sums.has(choice)) this.sums.set(choice, {bytes: sum('Bytes'), blocks: sum('Blocks')});
        return this.sums.get(choice);
    }

    /** The kinds of a row's blocks, with their sums: [kind, bytes, blocks]. */
    ofRow(row, choice) {
        const {columns} = this.data;
        return this.kindsOf(choice)
            .filter(kind => columns[kind + 'Blocks'][row] > 0)
            .map(kind => [kind, columns[kind + 'Bytes'][row], columns[kind + 'Blocks'][row]]);
    }

    /** The order by verdict: the worst kind first, then the most bytes. */
    rank(row, choice) {
        const [worst] = this.ofRow(row, choice);
        return worst ? (verdictKinds.length - verdictKinds.indexOf(worst[0])) * 1e15 + Math.min(worst[1], 9e14) : 0;
    }

    /** A cell of the table: the kind's name; with several kinds, the bytes of each. */
    cell(row, choice) {
        const kinds = this.ofRow(row, choice);
        return make('span', {class: 'verdicts'},
            ...kinds.map(
                ([kind, bytes]) => make('span', {title: verdictTitles[kind]}, make('span', {class: 'key key-' + kind}),
                    kinds.length > 1 ? `${kind} ${grouped(bytes)}` : kind)));
    }

    /** The figures of one stack: [name, value]. */
    figures(row) {
        const {draggedBytes, draggedBlocks} = this.data.columns;
        const pairs = this.ofRow(row).map(
            ([kind, bytes, blocks]) => [verdictTitles[kind], `${grouped(bytes)} bytes in ${counted(blocks, 'block')}`]);
        if (draggedBlocks[row] > 0)
            pairs.push(
                ['They drag along', `${grouped(draggedBytes[row])} bytes in ${counted(draggedBlocks[row], 'block')}`]);
        return pairs;
    }

    /** For each kind, the sums of the nodes: [kind, sums]. */
    ofNodes(tree, choice, unit) {
        return this.kindsOf(choice)
            .filter(kind => this.kinds.includes(kind))
            .map(kind => [kind, tree.sums(this.data.columns[kind + unit])]);
    }

    /** Tiles with the sums and their meaning. */
    tiles() {
        const tiles = verdictKinds.filter(kind => kind !== 'unknown' || this.totals[kind].blocks > 0).map(kind => {
            const {bytes, blocks} = this.totals[kind];
            return make('div', {class: 'tile', title: verdictMeanings[kind]},
                make('dt', {}, make('span', {class: 'key key-' + kind}), `${verdictTitles[kind]}, bytes`),
                make('dd', {}, make('span', {class: 'figure', id: 'total-' + kind, text: grouped(bytes)}),
                    make('span', {class: 'more', text: `${counted(blocks, 'block')}: ${verdictMeanings[kind]}`})));
        });
        return make('dl', {class: 'tiles', id: 'verdict-totals'}, ...tiles);
    }
}
