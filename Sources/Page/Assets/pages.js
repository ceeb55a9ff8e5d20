// The map of the allocator's pages: a cell is a run of resident pages, its colour how full they are with live blocks. A
// click, or Enter, shows whose blocks are on a cell. One canvas for each part of the allocator: a large program has
// thousands of cells.

/** How full a cell is, in six classes; the colours go from empty to full in lightness. */
const fullness = [
    ['nothing live', 'page-0'], ['less than 1/8', 'page-1'], ['1/8 to 1/4', 'page-2'], ['1/4 to 1/2', 'page-3'],
    ['1/2 to 3/4', 'page-4'], ['3/4 or more', 'page-5']
];
const fullnessOf = (used, bytes) => {
    if (used === 0) return 0;
    const eighths = Math.floor(used * 8 / bytes);
    return eighths < 1 ? 1 : eighths < 2 ? 2 : eighths < 4 ? 3 : eighths < 6 ? 4 : 5;
};

class PageMap {
    /** `actions` are choose(cell) and open(row). */
    constructor(data, actions) {
        this.data = data;
        this.map = data.raw.map;
        this.actions = actions;
        this.chosen = -1;
        this.cellSize = 10;
        const {arena} = this.map;
        const parts = new Map();
        arena.forEach((number, cell) => {
            if (!parts.has(number)) parts.set(number, []);
            parts.get(number).push(cell);
        });
        this.parts = [...parts].map(([number, cells]) => this.part(number, cells));
        this.parts.sort((a, b) => b.pages - a.pages);
        this.detail = make('div', {class: 'map-detail', id: 'map-detail', 'aria-live': 'polite'});
        const {map} = this, each = map.pagesPerCell;
        const one = roundSize(map.pageBytes);
        const unit = each === 1 ? `one page of ${one}`
                                : `up to ${grouped(each)} pages of ${one} (${size(each * map.pageBytes)})`;
        const what = !map.isResident ? 'pages with live blocks; which were in memory is not known'
            : map.isOfEnd            ? 'pages with live blocks that were in memory when the program ended'
                                     : "the allocator's pages in memory";
        this.element = section('pages', 'Pages', [], make('p', {
            class: 'hint',
            id: 'pages-help',
            text: `A cell is ${unit}: ${what}. Its colour is how much of it live blocks take. Click, or arrows and ` +
                'Enter, to see whose they are.'
        }),
            legend(fullness.map(([text, name]) => [text, 'key-' + name])),
            make('div', {class: 'map-parts'}, ...this.parts.map(part => part.element)), this.detail);
        look.follow(() => {
            this.colours = null;
            this.parts.forEach(part => this.draw(part));
        });
    }

    sum(cells, column) { return cells.reduce((sum, cell) => sum + this.map[column][cell], 0); }

    part(number, cells) {
        const pages = this.sum(cells, 'pages'), used = this.sum(cells, 'used');
        const name = this.map.arenas[number];
        const part = {cells, pages, cursor: 0, columns: 1, isFocused: false};
        part.canvas = make('canvas', {
            tabindex: '0',
            role: 'img',
            'data-arena': number,
            'aria-label': `Map of ${name}: ${grouped(cells.length)} cells, ${grouped(pages)} pages, ${
                share(used, pages * this.map.pageBytes)} of their bytes live`,
            'aria-describedby': 'pages-help',
            onmousemove: event => this.point(part, event),
            onmouseleave: () => tooltip.hide(),
            onclick: event => {
                const place = this.hit(part, event);
                if (place >= 0) this.pick(part, place);
            },
            onkeydown: event => this.key(part, event),
            onfocus: () => {
                part.isFocused = true;
                this.draw(part);
            },
            onblur: () => {
                part.isFocused = false;
                tooltip.hide();
                this.draw(part);
            }
        });
        part.element = make('div', {class: 'map-part'},
            make('h3', {text: `${name} · ${counted(pages, 'page')} · ${share(used, pages * this.map.pageBytes)} live`}),
            part.canvas);
        new ResizeObserver(() => this.draw(part)).observe(part.element);
        return part;
    }

    draw(part) {
        const width = Math.floor(part.element.clientWidth);
        if (width === 0) return;
        this.colours ??= [...fullness.map(([, name]) => look.colour(name)), look.colour('text'), look.colour('accent')];
        const side = this.cellSize;
        part.columns = Math.max(1, Math.floor(width / side));
        const height = Math.ceil(part.cells.length / part.columns) * side + 1;
        const pen = penOn(part.canvas, width, height);
        part.cells.forEach((cell, place) => {
            const x = place % part.columns * side, y = Math.floor(place / part.columns) * side;
            pen.fillStyle = this.colours[fullnessOf(this.map.used[cell], this.map.pages[cell] * this.map.pageBytes)];
            pen.fillRect(x, y, side - 1, side - 1);
            const isCursor = part.isFocused && place === part.cursor;
            if (cell !== this.chosen && !isCursor) return;
            pen.strokeStyle = this.colours[isCursor ? 7 : 6];
            pen.lineWidth = 2;
            pen.strokeRect(x + 1, y + 1, side - 3, side - 3);
        });
    }

    hit(part, event) {
        const bounds = part.canvas.getBoundingClientRect(), side = this.cellSize;
        const column = Math.floor((event.clientX - bounds.left) / side);
        const place = Math.floor((event.clientY - bounds.top) / side) * part.columns + column;
        return column < part.columns && place < part.cells.length ? place : -1;
    }

    lines(cell) {
        const {map} = this, bytes = map.pages[cell] * map.pageBytes;
        return [
            ['Pages', grouped(map.pages[cell])],
            ['Live, with headers', `${grouped(map.used[cell])} (${share(map.used[cell], bytes)})`],
            ['Free, but pinned', grouped(map.pinned[cell])]
        ];
    }

    title(cell) { return '0x' + this.map.address[cell].toString(16); }

    point(part, event) {
        const place = this.hit(part, event);
        if (place < 0) return tooltip.hide();
        const cell = part.cells[place];
        tooltip.show(
            event.clientX, event.clientY, make('strong', {text: this.title(cell)}), tooltip.lines(this.lines(cell)));
    }

    key(part, event) {
        const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: part.columns, ArrowUp: -part.columns}[event.key];
        const last = part.cells.length - 1;
        if (step !== undefined) part.cursor = Math.min(last, Math.max(0, part.cursor + step));
        else if (event.key === 'Home') part.cursor = 0;
        else if (event.key === 'End') part.cursor = last;
        else if (event.key === 'Enter' || event.key === ' ') this.pick(part, part.cursor);
        else if (event.key === 'Escape') this.actions.choose(-1);
        else return;
        event.preventDefault();
        const cell = part.cells[part.cursor];
        announce(`${this.title(cell)}: ${this.lines(cell).map(line => line.join(' ')).join(', ')}`);
        this.draw(part);
    }

    pick(part, place) {
        part.cursor = place;
        this.actions.choose(part.cells[place]);
    }

    /** The stacks with blocks on a cell: [row, bytes], the largest first. */
    stacksOf(cell) {
        const {stacksEnd, row, bytes} = this.map, stacks = [];
        for (let at = cell > 0 ? stacksEnd[cell - 1] : 0; at < stacksEnd[cell]; at++) stacks.push([row[at], bytes[at]]);
        return stacks;
    }

    nameOf(row) {
        const {data} = this;
        if (row === -2) return this.map.unbooked;
        if (row < 0) return 'a stack that the filters left out';
        const names = data.framesOf(row).map(frame => data.frameName(frame));
        return names.slice(0, 4).join(' ← ') + (names.length > 4 ? ' ← …' : '') || '(no frames)';
    }

    /** Shows what is on a cell; -1: none is chosen. */
    show(cell) {
        const {map} = this;
        this.chosen = cell >= 0 && cell < map.pages.length ? cell : -1;
        this.parts.forEach(part => this.draw(part));
        if (this.chosen < 0) return this.detail.replaceChildren();
        const stacks = this.stacksOf(cell).map(
            ([row, bytes]) => make('li', {}, make('span', {class: 'number', text: grouped(bytes)}),
                row < 0 ? make('span', {class: 'name', text: this.nameOf(row)}) : make('button', {
                    type: 'button',
                    class: 'name',
                    'data-row': row,
                    text: this.nameOf(row),
                    title: 'Show this stack',
                    onclick: () => this.actions.open(row)
                })));
        if (map.otherStacks[cell] > 0)
            stacks.push(make('li', {}, make('span', {class: 'number', text: grouped(map.otherBytes[cell])}),
                make('span', {text: counted(map.otherStacks[cell], 'more stack')})));
        this.detail.replaceChildren(make('h3', {text: `${this.title(cell)}, ${this.map.arenas[map.arena[cell]]}`}),
            make('dl', {class: 'figures'}, ...this.lines(cell).map(([name,
                value]) => make('div', {}, make('dt', {text: name}), make('dd', {text: value})))),
            stacks.length > 0 ? make('ul', {class: 'map-stacks'}, ...stacks)
                              : make('p', {class: 'empty', text: 'No live block is on these pages.'}));
    }
}
