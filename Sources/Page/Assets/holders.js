// Who holds the reachable blocks: a tree from the roots, shown like calls, as a list and as a graph. A line stands for
// a root, or for all blocks of one stack below one line. Its width is what would be freed if it went.

class HolderTree extends Tree {
    /** With several processes, each is a line above its roots. */
    constructor(data) {
        super();
        const {holders} = data.raw.verdicts;
        this.names = ['all that is reachable'];
        this.kept = [holders.reduce((sum, each) => sum + each.bytes, 0)];
        this.keptBlocks = [holders.reduce((sum, each) => sum + each.blocks, 0)];
        for (const each of holders) {
            const top = holders.length > 1 ? this.add(0, each.label, each.bytes, each.blocks) : 0;
            const path = [top];
            each.name.forEach((name, line) => {
                const depth = each.depth[line], blocks = each.ownBlocks[line];
                const text = (each.severalRoots[line] ? 'several roots → ' : '')
                    + (blocks > 0 ? `${counted(blocks, 'block')} of ` : '') + data.strings[name];
                path.length = depth + 1;
                path.push(this.add(path[depth], text, each.keptBytes[line], each.keptBlocks[line]));
            });
        }
        this.widths = Float64Array.from(this.kept);
        this.finish();
        // Lines are not functions of modules: each has its own number, by which a search finds it.
        this.function = Int32Array.from(this.names.keys());
        /** For each node, the rank of its ancestor directly below the top: the one that keeps the most is 1. */
        this.rank = new Int32Array(this.count);
        this.children(0, this.widths).forEach((node, place) => {
            this.rank[node] = place + 1;
        });
        for (let node = 1; node < this.count; node++) this.rank[node] ||= this.rank[this.parent[node]];
    }

    add(parent, name, bytes, blocks) {
        this.names.push(name);
        this.kept.push(bytes);
        this.keptBlocks.push(blocks);
        return this.append(parent);
    }

    name(node) { return this.names[node]; }
    moduleName(node) { return `${counted(this.keptBlocks[node], 'block')} with it`; }
}

/** The panel that shows the tree. `zoom(node)` and `form(value)` change the page's state. */
class HolderPanel {
    constructor(data, {zoom, form}) {
        this.tree = new HolderTree(data);
        this.zoomTo = zoom;
        const sentence = node => `${this.tree.name(node)}: keeps ${grouped(this.tree.kept[node])} bytes in ${
            counted(this.tree.keptBlocks[node], 'block')}, ${this.shareOf(node)} of what is reachable`;
        const actions = {
            zoom,
            sentence,
            texts: node => [grouped(this.tree.kept[node]), this.shareOf(node)],
            details: node => [make('strong', {text: this.tree.name(node)}), tooltip.lines([
                ['Would be freed with it', `${grouped(this.tree.kept[node])} (${size(this.tree.kept[node])})`],
                ['Blocks', grouped(this.tree.keptBlocks[node])], ['Of what is reachable', this.shareOf(node)]
            ])]
        };
        this.graph = new FlameGraph(actions, {id: 'holder-canvas', help: 'holders-help'});
        this.outline = new Outline(actions, {id: 'holder-outline', label: 'Holders, by what they keep'});
        this.crumbs = new Crumbs(zoom);
        this.switch = switcher('Form of the holders', [['outline', 'Outline'], ['graph', 'Graph']], form);
        this.element = section('holders', 'Who holds what is reachable', [this.switch], this.crumbs.element,
            this.outline.element, this.graph.element, make('p', {
                class: 'hint',
                id: 'holders-help',
                text: 'Below a holder is what only it keeps: these bytes would be freed if it went. ' +
                    'Holders that keep less than 0.2 % are left out. Measure, verdict and zoom above change ' +
                    'nothing here.'
            }));
        this.tints = new Map();
        look.follow(() => this.tints.clear());
    }

    shareOf(node) { return share(this.tree.kept[node], this.tree.kept[0]); }

    /** Each of the eight largest roots has a hue, which all that it keeps shares. */
    tint(node) {
        if (node === 0) return look.colour('box-root');
        const name = this.tree.rank[node] <= 8 ? `module-${this.tree.rank[node]}` : 'box-other';
        const part = [100, 90, 80][this.tree.depth[node] % 3], key = `${name} ${part}`;
        if (!this.tints.has(key)) this.tints.set(key, mix(look.colour(name), look.colour('surface'), part));
        return this.tints.get(key);
    }

    /** `form` is outline or graph, `zoom` a node, `test` the search's test or null. */
    show({form, zoom, test, isNew}) {
        const {tree} = this, isGraph = form === 'graph', focus = zoom >= 0 && zoom < tree.count ? zoom : 0;
        this.switch.show(isGraph ? 'graph' : 'outline');
        this.crumbs.show(tree, focus);
        this.graph.element.hidden = !isGraph;
        this.outline.element.hidden = isGraph;
        this.graph.canvas.setAttribute('aria-label', `Graph of holders. ${this.graph.actions.sentence(focus)}.`);
        const matches = test ? Uint8Array.from(tree.names, name => test(name) ? 1 : 0) : null;
        if (isGraph) this.graph.show({tree, widths: tree.widths, tint: node => this.tint(node), matches, focus});
        else if (isNew) this.outline.show({tree, widths: tree.widths, focus, leastShare: 0.1});
    }
}
