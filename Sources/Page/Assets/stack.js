// One whole stack: its frames with their places, what it holds, and what it held at the known moments.

class StackDetail {
    /** `actions.search(name)` searches for a function; `actions.close()` hides the stack. */
    constructor(data, actions) {
        this.data = data;
        this.actions = actions;
        this.element = make('aside', {class: 'detail', id: 'detail', 'aria-label': 'The chosen stack', hidden: true});
    }

    show(row, figures) {
        const {data} = this;
        this.element.hidden = row < 0;
        if (row < 0) return this.element.replaceChildren();
        const frames = data.framesOf(row).map(
            frame => make('li', {}, make('button', {
                type: 'button',
                class: 'name',
                title: 'Search for this function',
                text: data.frameText(frame),
                onclick: () => this.actions.search(data.frameName(frame))
            }),
                make('span', {
                    class: 'place',
                    text: [data.framePlace(frame), baseName(data.frameModule(frame))].filter(Boolean).join(' · '),
                    title: data.frameModule(frame)
                }),
                data.frames.isInlined[frame] ? make('span', {class: 'tag', text: 'inlined'}) : null));
        this.element.replaceChildren(make('div', {class: 'detail-head'}, make('h3', {text: 'Stack'}), make('button', {
            type: 'button',
            class: 'quiet',
            'aria-label': 'Close the stack',
            text: '✕',
            onclick: () => this.actions.close()
        })),
            make('dl', {class: 'figures'}, ...figures.map(([name,
                value]) => make('div', {}, make('dt', {text: name}), make('dd', {text: value})))),
            this.history(row), make('p', {class: 'hint', text: 'The innermost call first: it asked for the memory.'}),
            make('ol', {class: 'frames'}, ...frames));
    }

    /** What the row held at each moment, as a small graph. */
    history(row) {
        const {data} = this;
        if (data.moments.length < 3) return '';
        const values = data.moments.map((_, number) => data.at(number).bytes[row]);
        const most = Math.max(...values, 1);
        const points =
            values.map((value, index) =>
                           `${(index / (values.length - 1) * 100).toFixed(2)} ${(30 - value / most * 28).toFixed(2)}`);
        const text = `Live bytes of this stack from ${data.moments[0].label} to ${
            data.moments[values.length - 1].label}: ${values.map(grouped).join(', ')}`;
        return make('figure', {class: 'spark'},
            make('svg', {viewBox: '0 0 100 32', preserveAspectRatio: 'none', role: 'img', 'aria-label': text},
                make('path', {d: 'M' + points.join('L'), class: 'series line-1'})),
            make('figcaption', {
                text: `Live bytes at ${values.length} moments, ${data.moments[0].label} to ${
                    data.moments[values.length - 1].label}; most ${grouped(most)}`
            }));
    }
}
