// The table of stacks. It makes elements only for the visible rows, so that 100,000 rows scroll like ten. For a screen
// reader it is a grid with the number of all rows and the index of each.

class StackTable {
    /**
     * `columns` are { key, title, hint, text(row), value(row), isWide, isText, part(row) }; `actions` are sort(key),
     * choose(row).
     */
    constructor(actions) {
        this.actions = actions;
        this.rowHeight = 34;
        // Browsers stop making elements taller at some 33 million pixels.
        this.mostRows = 900000;
        this.rows = new Int32Array(0);
        this.cursor = 0;
        this.head = make('tr', {'aria-rowindex': '1'});
        this.body = make('tbody');
        this.table = make('table', {class: 'stacks', role: 'grid', 'aria-labelledby': 'stacks-title'},
            make('thead', {}, this.head), this.body);
        this.scroller = make('div', {class: 'scroller', id: 'scroller', onscroll: () => this.draw()}, this.table);
        this.element = this.scroller;
        this.body.addEventListener('keydown', event => this.key(event));
        this.body.addEventListener('click', event => {
            const line = event.target.closest('tr[data-place]');
            if (line) {
                this.cursor = Number(line.dataset.place);
                this.actions.choose(this.rows[this.cursor]);
            }
        });
        new ResizeObserver(() => this.draw()).observe(this.scroller);
        addEventListener('beforeprint', () => {
            this.isPrinting = true;
            this.draw();
        });
        addEventListener('afterprint', () => {
            this.isPrinting = false;
            this.draw();
        });
    }

    show({columns, rows, sort, isDescending, chosen}) {
        Object.assign(this, {columns, rows, chosen});
        this.head.replaceChildren(...columns.map(column => make('th', {
            scope: 'col',
            role: 'columnheader',
            class: this.classOf(column),
            'aria-sort': column.key === sort ? (isDescending ? 'descending' : 'ascending')
                : column.value               ? 'none'
                                             : null
        },
                                                     column.value ? make('button', {
                                                         type: 'button',
                                                         'data-sort': column.key,
                                                         title: column.hint,
                                                         text: column.title,
                                                         onclick: () => this.actions.sort(column.key)
                                                     })
                                                                  : column.title)));
        this.table.setAttribute('aria-rowcount', String(rows.length + 1));
        this.cursor = Math.min(this.cursor, Math.max(0, rows.length - 1));
        // With few rows, no taller than they are; with many, the style sheet's height.
        this.scroller.style.height = rows.length > 0 && rows.length < 15 ? 'auto' : '';
        this.shown = null;
        this.draw();
    }

    classOf(column) {
        return [column.isWide   ? 'wide'
                : column.isText ? 'words'
                                : 'number',
            column.isMinor ? 'minor' : '']
            .join(' ')
            .trim();
    }

    toTop() {
        this.cursor = 0;
        this.scroller.scrollTop = 0;
    }

    draw() {
        if (!this.columns) return;
        const count = Math.min(this.rows.length, this.mostRows);
        // On paper the scroller is as tall as its contents: bound the number of visible rows here.
        const height = Math.min(this.scroller.clientHeight || 400, 4000);
        let first = Math.max(0, Math.floor(this.scroller.scrollTop / this.rowHeight) - 8);
        let last = Math.min(count, first + Math.ceil(height / this.rowHeight) + 16);
        if (this.isPrinting || matchMedia('print').matches) [first, last] = [0, Math.min(count, 60)];
        const key = `${first} ${last} ${this.cursor} ${this.chosen}`;
        if (this.shown === key) return;
        this.shown = key;
        const hadFocus = this.body.contains(document.activeElement);
        const spacer = rows => {
            const line =
                make('tr', {class: 'spacer', 'aria-hidden': 'true'}, make('td', {colspan: this.columns.length}));
            line.style.height = rows * this.rowHeight + 'px';
            return line;
        };
        const lines = [];
        if (first > 0) lines.push(spacer(first));
        for (let place = first; place < last; place++) lines.push(this.line(place));
        if (last < count && !matchMedia('print').matches && !this.isPrinting) lines.push(spacer(count - last));
        this.body.replaceChildren(...lines);
        if (hadFocus) this.body.querySelector(`[data-place="${this.cursor}"]`)?.focus({preventScroll: true});
    }

    line(place) {
        const row = this.rows[place];
        const line = make('tr', {
            'data-place': place,
            'aria-rowindex': place + 2,
            tabindex: place === this.cursor ? '0' : '-1',
            'aria-selected': String(row === this.chosen)
        });
        for (const column of this.columns) {
            const cell = make('td', {class: this.classOf(column), role: 'gridcell'});
            const content = column.text(row);
            if (content instanceof Node) cell.append(content);
            else cell.textContent = content;
            const part = column.part?.(row);
            if (part !== undefined) {
                const bar = make('span', {class: 'bar ' + (part < 0 ? 'shrunk' : 'grown'), 'aria-hidden': 'true'});
                bar.style.width = Math.min(100, Math.abs(part) * 100).toFixed(2) + '%';
                cell.append(bar);
            }
            line.append(cell);
        }
        return line;
    }

    key(event) {
        const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight) - 2);
        const last = Math.min(this.rows.length, this.mostRows) - 1;
        const moves = {
            ArrowDown: this.cursor + 1,
            ArrowUp: this.cursor - 1,
            PageDown: this.cursor + page,
            PageUp: this.cursor - page,
            Home: 0,
            End: last
        };
        if (event.key === 'Enter' || event.key === ' ') this.actions.choose(this.rows[this.cursor]);
        else if (event.key in moves) this.moveTo(Math.max(0, Math.min(last, moves[event.key])));
        else return;
        event.preventDefault();
    }

    moveTo(place) {
        this.cursor = place;
        const top = place * this.rowHeight, head = this.head.offsetHeight;
        if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
        else if (top + this.rowHeight + head > this.scroller.scrollTop + this.scroller.clientHeight)
            this.scroller.scrollTop = top + this.rowHeight + head - this.scroller.clientHeight;
        this.draw();
        this.body.querySelector(`[data-place="${place}"]`)?.focus({preventScroll: true});
    }
}
