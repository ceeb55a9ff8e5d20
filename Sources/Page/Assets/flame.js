// The flame graph. It is a canvas, because the tree of a large program has more boxes than a document can hold. Boxes
// narrower than half a pixel are not drawn. The mouse, the keyboard and the outline (outline.js) move through the same
// tree; screen readers hear the box that the keyboard is on.

class FlameGraph {
    /** `actions` are zoom(node), details(node) for the tooltip, and sentence(node). */
    constructor(actions, {id, help}) {
        this.actions = actions;
        this.rowHeight = 22;
        this.canvas = make('canvas', {
            tabindex: '0',
            role: 'img',
            id,
            'aria-describedby': help,
            onmousemove: event => this.point(event),
            onmouseleave: () => {
                tooltip.hide();
                this.hovered = -1;
                this.draw();
            },
            onclick: event => {
                const node = this.hit(event);
                if (node >= 0) this.actions.zoom(node);
            },
            onkeydown: event => this.key(event),
            onfocus: () => {
                this.isFocused = true;
                this.tell();
                this.draw();
            },
            onblur: () => {
                this.isFocused = false;
                tooltip.hide();
                this.draw();
            }
        });
        this.element = make('div', {class: 'flame'}, this.canvas);
        this.focus = 0;
        this.cursor = 0;
        this.hovered = -1;
        this.boxes = [];
        new ResizeObserver(() => this.draw()).observe(this.element);
        look.follow(() => {
            this.colours = null;
            this.draw();
        });
    }

    /**
     * Shows a tree with these widths. `matches` are the matching functions, or null. `tint(node)` is a colour, or the
     * box's parts from left to right: [share, colour].
     */
    show({tree, widths, tint, matches, focus}) {
        Object.assign(this, {tree, widths, tint, matches});
        this.focus = focus;
        if (this.cursor >= tree.count || widths[this.cursor] === 0) this.cursor = focus;
        this.draw();
    }

    palette() {
        this.colours ??= Object.fromEntries(
            ['text', 'muted', 'surface', 'line', 'accent', 'box-text'].map(name => [name, look.colour(name)]));
        return this.colours;
    }

    /** Places the boxes of the focus, of its callers above it, and of its visible descendants. */
    layout(width) {
        const {tree, widths, focus} = this;
        const boxes = [];
        let level = 0;
        for (const node of [0, ...tree.path(focus)]) {
            boxes.push([{node, x: 0, width}]);
            level++;
        }
        let row = boxes[level - 1];
        const scale = widths[focus] > 0 ? width / widths[focus] : 0;
        while (row.length > 0 && boxes.length < 1200) {
            const next = [];
            for (const box of row) {
                let x = box.x;
                for (const node of tree.children(box.node, widths)) {
                    const own = widths[node] * scale;
                    if (own < 0.5) break; // sorted by size: all that follow are smaller
                    next.push({node, x, width: own});
                    x += own;
                }
            }
            if (next.length === 0) break;
            boxes.push(next);
            row = next;
        }
        return boxes;
    }

    draw() {
        const width = Math.floor(this.element.clientWidth);
        if (!this.tree || width === 0) return;
        this.boxes = this.layout(width);
        const height = Math.max(3, this.boxes.length) * this.rowHeight + 1;
        const pen = penOn(this.canvas, width, height);
        pen.font = '12px system-ui, sans-serif';
        pen.textBaseline = 'middle';
        this.letter ??= pen.measureText('abcdefghijklmnopqrstuvwxyz_0123456789').width / 37;
        const depth = this.tree.depth[this.focus];
        this.boxes.forEach((row, level) => {
            for (const box of row) this.box(pen, box, level * this.rowHeight, level < depth);
        });
    }

    box(pen, {node, x, width}, y, isCaller) {
        const colours = this.palette();
        const isFaint = this.matches && node > 0 && !this.matches[this.tree.function [node]];
        pen.globalAlpha = isFaint ? 0.28 : isCaller ? 0.65 : 1;
        const inner = Math.max(width - (width > 3 ? 1 : 0.2), 0.3), tint = this.tint(node);
        let left = x;
        for (const [part, colour] of typeof tint === 'string' ? [[1, tint]] : tint) {
            pen.fillStyle = colour;
            pen.fillRect(left, y, inner * part, this.rowHeight - 1);
            left += inner * part;
        }
        const room = Math.floor((width - 10) / this.letter);
        if (room >= 3) {
            pen.fillStyle = colours['box-text'];
            const name = this.tree.name(node);
            pen.fillText(
                name.length > room ? name.slice(0, room - 1) + '…' : name, x + 5, y + this.rowHeight / 2, width - 8);
        }
        pen.globalAlpha = 1;
        if (node === this.hovered || (this.isFocused && node === this.cursor)) {
            pen.strokeStyle = this.isFocused && node === this.cursor ? colours.accent : colours.text;
            pen.lineWidth = 2;
            pen.strokeRect(x + 1, y + 1, Math.max(inner - 2, 1), this.rowHeight - 3);
        }
    }

    hit(event) {
        const bounds = this.canvas.getBoundingClientRect();
        const row = this.boxes[Math.floor((event.clientY - bounds.top) / this.rowHeight)];
        const x = event.clientX - bounds.left;
        return row?.find(box => x >= box.x && x < box.x + box.width)?.node ?? -1;
    }

    point(event) {
        const node = this.hit(event);
        if (node !== this.hovered) {
            this.hovered = node;
            this.draw();
        }
        this.canvas.style.cursor = node >= 0 ? 'pointer' : 'default';
        if (node < 0) tooltip.hide();
        else tooltip.show(event.clientX, event.clientY, ...this.actions.details(node));
    }

    key(event) {
        const {tree, widths, cursor} = this;
        const siblings = cursor > 0 ? tree.children(tree.parent[cursor], widths) : [0];
        const place = siblings.indexOf(cursor);
        const moves = {
            ArrowDown: () => tree.children(cursor, widths)[0],
            ArrowUp: () => tree.parent[cursor],
            ArrowRight: () => siblings[place + 1],
            ArrowLeft: () => siblings[place - 1],
            Home: () => 0,
        };
        if (moves[event.key]) {
            const node = moves[event.key]();
            if (node !== undefined) {
                this.cursor = node;
                // If the node is outside the zoom, or too narrow to see, zoom to it.
                if (!this.boxes.some(row => row.some(box => box.node === node))) this.actions.zoom(tree.parent[node]);
                this.draw();
            }
            this.tell();
        } else if (event.key === 'Enter' || event.key === ' ') this.actions.zoom(cursor);
        else if (event.key === 'Escape' || event.key === 'Backspace') {
            const node = event.key === 'Escape' ? 0 : tree.parent[this.focus];
            this.cursor = node;
            this.actions.zoom(node);
        } else return;
        event.preventDefault();
    }

    /** Announces the box that the keyboard is on, and shows it. */
    tell() {
        if (!this.tree) return;
        announce(this.actions.sentence(this.cursor));
        for (const [level, row] of this.boxes.entries()) {
            const box = row.find(each => each.node === this.cursor);
            if (!box) continue;
            const top = level * this.rowHeight, frame = this.element;
            if (top < frame.scrollTop || top + this.rowHeight > frame.scrollTop + frame.clientHeight)
                frame.scrollTop = top - frame.clientHeight / 2;
            const bounds = this.canvas.getBoundingClientRect();
            tooltip.show(bounds.left + box.x + Math.min(box.width / 2, 200),
                bounds.top + (level + 1) * this.rowHeight - 12, ...this.actions.details(this.cursor));
            return;
        }
    }
}
