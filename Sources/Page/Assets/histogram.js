// Histograms, as tables with bars in them: screen readers and print have the numbers, and nobody must measure bars.

/** `classes` are [label, count, other]; the bars show the counts. */
function histogram(caption, heads, classes) {
    if (classes.every(each => !each[1])) return make('p', {class: 'empty', text: caption + ': nothing to show.'});
    const most = Math.max(...classes.map(each => each[1]));
    const lines = classes.map(([label, count, other]) => {
        const bar = make('span', {class: 'bar', 'aria-hidden': 'true'});
        bar.style.width = (count / most * 100).toFixed(2) + '%';
        return make('tr', {}, make('th', {scope: 'row', text: label}), make('td', {class: 'bars'}, bar),
            make('td', {class: 'number', text: grouped(count)}),
            other === undefined ? null : make('td', {class: 'number', text: grouped(other)}));
    });
    return make('table', {class: 'histogram'}, make('caption', {text: caption}),
        make('thead', {},
            make('tr', {},
                ...heads.map(
                    (head, index) => make('th', {scope: 'col', class: index > 1 ? 'number' : '', text: head})))),
        make('tbody', {}, ...lines));
}

/** All classes from the first used one to the last, including empty ones: gaps are part of the shape. */
function filled({class: classes, blocks, bytes}, label) {
    if (classes.length === 0) return [];
    const rows = [];
    for (let each = classes[0]; each <= classes[classes.length - 1]; each++) {
        const place = classes.indexOf(each);
        rows.push([label(each), place < 0 ? 0 : blocks[place], place < 0 ? 0 : bytes[place]]);
    }
    return rows;
}

function histograms(data) {
    const {sizes, ages, lifetimes} = data.raw.histograms;
    const sizeText = each => each === 0 ? '0 B'
        : each === 1                    ? '1 B'
        : each <= 10                    ? `${2 ** (each - 1)} – ${2 ** each - 1} B`
                                        : `${roundSize(2 ** (each - 1))} – < ${roundSize(2 ** each)}`;
    const between = (from, to) => `${duration(from / 1000)} – ${duration(to / 1000)}`;
    const ageText = each => each === 0 ? 'now' : between(2 ** (each - 1), 2 ** each);
    const lifetimeText = (_, each) => each === 0 ? '< 4 ms'
        : each === 11                            ? `≥ ${duration(4 * 4 ** 10 / 1000)}`
                                                 : between(4 ** each, 4 * 4 ** each);
    const parts = [
        histogram('Live blocks by size', ['Size', '', 'Blocks', 'Bytes'], filled(sizes, sizeText)),
        histogram('Live blocks by age', ['Age', '', 'Blocks', 'Bytes'], filled(ages, ageText)),
    ];
    if (lifetimes.some(count => count > 0)) {
        const last = lifetimes.findLastIndex(count => count > 0);
        parts.push(histogram('Freed blocks by lifetime, whole process', ['Lived', '', 'Blocks'],
            lifetimes.slice(0, last + 1).map((count, each) => [lifetimeText(count, each), count])));
    }
    return make('div', {class: 'histograms'}, ...parts);
}
