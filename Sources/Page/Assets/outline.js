// The flame graph as an outline: the same tree as a list, for screen readers, for print, and for readers who prefer
// numbers beside names. Items are made when they are opened. It follows ARIA's tree pattern: arrows move, right opens,
// left closes, Enter zooms the graph to the item.

class Outline {
    /** `actions` are zoom(node), texts(node): [value, share], and sentence(node). */
    constructor(actions, {id, label}) {
        this.actions = actions;
        this.limit = 100;
        this.element = make('div', {
            class: 'outline',
            role: 'tree',
            'aria-label': label,
            id,
            onkeydown: event => this.key(event),
            onclick: event => this.click(event)
        });
    }

    /** Shows a tree below the focus. Items that hold at least `leastShare` of the focus are open. */
    show({tree, widths, focus, leastShare = 1}) {
        Object.assign(this, {tree, widths});
        const item = this.item(focus, 1);
        this.element.replaceChildren(item);
        item.tabIndex = 0;
        // Open items until one has several children.
        for (let next = item, level = 0; next && level < 40; level++) {
            this.open(next);
            const items = next.lastChild.querySelectorAll(':scope > [role=treeitem]');
            next = items.length === 1 ? items[0] : null;
        }
        if (leastShare < 1) this.openLarge(item, widths[focus] * leastShare);
    }

    openLarge(item, least) {
        if (this.widths[Number(item.dataset.node)] < least) return;
        this.open(item);
        for (const inner of item.querySelectorAll(':scope > .outline-group > [role=treeitem]'))
            this.openLarge(inner, least);
    }

    item(node, level) {
        const [value, part] = this.actions.texts(node);
        const hasChildren = this.tree.children(node, this.widths).length > 0;
        return make('div', {
            role: 'treeitem',
            'aria-level': level,
            'aria-expanded': hasChildren ? 'false' : null,
            tabindex: '-1',
            'data-node': node,
            'aria-label': this.actions.sentence(node)
        },
            make('div', {class: 'outline-row'}, make('span', {class: 'twist', 'aria-hidden': 'true'}),
                make('span', {class: 'number', text: value}), make('span', {class: 'number share', text: part}),
                make('span', {class: 'name', text: this.tree.name(node)}),
                make('span', {class: 'module', text: this.tree.moduleName(node)})),
            hasChildren ? make('div', {role: 'group', class: 'outline-group'}) : null);
    }

    open(item) {
        if (item.getAttribute('aria-expanded') !== 'false') return;
        const group = item.lastChild;
        if (group.childElementCount === 0) this.fill(item, group, 0);
        item.setAttribute('aria-expanded', 'true');
    }

    fill(item, group, from) {
        const children = this.tree.children(Number(item.dataset.node), this.widths);
        const level = Number(item.getAttribute('aria-level')) + 1;
        group.append(...children.slice(from, from + this.limit).map(node => this.item(node, level)));
        const rest = children.length - from - this.limit;
        if (rest > 0) {
            const more = make('button', {
                type: 'button',
                class: 'more',
                text: `${grouped(rest)} smaller: show more`,
                onclick: event => {
                    event.stopPropagation();
                    more.remove();
                    this.fill(item, group, from + this.limit);
                }
            });
            group.append(more);
        }
    }

    close(item) {
        if (item.getAttribute('aria-expanded') === 'true') item.setAttribute('aria-expanded', 'false');
    }

    click(event) {
        const item = event.target.closest('[role=treeitem]');
        if (!item || event.target.closest('button')) return;
        this.stand(item);
        item.getAttribute('aria-expanded') === 'true' ? this.close(item) : this.open(item);
    }

    stand(item) {
        this.element.querySelectorAll('[tabindex="0"]').forEach(each => {
            each.tabIndex = -1;
        });
        item.tabIndex = 0;
        item.focus();
    }

    key(event) {
        const item = event.target.closest('[role=treeitem]');
        if (!item || event.target.closest('button')) return;
        const shown = [...this.element.querySelectorAll('[role=treeitem]')].filter(each => each.offsetParent !== null);
        const place = shown.indexOf(item);
        const isOpen = item.getAttribute('aria-expanded') === 'true';
        switch (event.key) {
            case 'ArrowDown':
                if (shown[place + 1]) this.stand(shown[place + 1]);
                break;
            case 'ArrowUp':
                if (shown[place - 1]) this.stand(shown[place - 1]);
                break;
            case 'ArrowRight':
                isOpen ? this.stand(shown[place + 1]) : this.open(item);
                break;
            case 'ArrowLeft':
                if (isOpen) this.close(item);
                else {
                    const outer = item.parentElement.closest('[role=treeitem]');
                    if (outer) this.stand(outer);
                }
                break;
            case 'Home':
                this.stand(shown[0]);
                break;
            case 'End':
                this.stand(shown[shown.length - 1]);
                break;
            case 'Enter':
            case ' ':
                this.actions.zoom(Number(item.dataset.node));
                break;
            default:
                return;
        }
        event.preventDefault();
    }
}

/** The path from the top to the zoomed node, one button per step. `zoom(node)` goes there. */
class Crumbs {
    constructor(zoom) {
        this.zoom = zoom;
        this.element = make('nav', {class: 'crumbs', 'aria-label': 'Zoomed to'});
    }

    show(tree, focus) {
        this.element.hidden = focus === 0;
        const path = [0, ...tree.path(focus)];
        const shown = path.length > 7 ? [...path.slice(0, 2), null, ...path.slice(-4)] : path;
        const step = node => node === focus
            ? make('span', {'aria-current': 'true', text: tree.name(node)})
            : make('button', {type: 'button', text: tree.name(node), onclick: () => this.zoom(node)});
        this.element.replaceChildren(
            make('ol', {}, ...shown.map(node => node === null ? make('li', {text: '…'}) : make('li', {}, step(node)))));
    }
}
