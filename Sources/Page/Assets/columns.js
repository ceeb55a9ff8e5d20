// The columns of the table of stacks, their order, and the figures of one stack.

function sorting() {
    const text = state.values.sort;
    const key = text.replace(/^-/, '');
    const known = columns().filter(column => column.value).map(column => column.key);
    return known.includes(key) ? [key, !text.startsWith('-')] : [known[0], true];
}

function stackCell(row) {
    const frames = data.framesOf(row);
    const cell = make('span', {class: 'chain'});
    frames.slice(0, 4).forEach((frame, index) => cell.append(index > 0 ? ' ← ' : '',
                                   make('span', {class: index === 0 ? 'first' : '', text: data.frameName(frame)})));
    if (frames.length > 4) cell.append(' …');
    return cell;
}

function columns() {
    const stack = {key: 'stack', title: 'Stack, innermost call first', isWide: true, text: stackCell};
    if (current.isGrowth) {
        const {change, after, before, isBytes} = current;
        const most = current.rows.reduce((most, row) => Math.max(most, Math.abs(change[row])), 1);
        const other = isBytes ? 'blocks' : 'bytes';
        const otherChange = row => data.at(current.at)[other][row] - data.at(current.against)[other][row];
        const list = [
            {
                key: 'change',
                title: isBytes ? 'Change, bytes' : 'Change, blocks',
                text: row => signed(change[row]),
                value: row => change[row],
                part: row => change[row] / most
            },
            {
                key: 'otherChange',
                title: `Change, ${other}`,
                isMinor: true,
                text: row => signed(otherChange(row)),
                value: otherChange
            },
            {key: 'after', title: 'After', isMinor: true, text: row => grouped(after[row]), value: row => after[row]},
            {
                key: 'before',
                title: 'Before',
                isMinor: true,
                text: row => grouped(before[row]),
                value: row => before[row]
            },
        ];
        if (data.columns.shape && current.at === lastMoment && current.against === 0) {
            if (data.raw.rows.bytesAnHour.some(value => value !== null))
                list.push({
                    key: 'rate',
                    title: 'Bytes an hour',
                    isMinor: true,
                    text: row => Number.isNaN(data.columns.bytesAnHour[row])
                        ? '–'
                        : signed(Math.round(data.columns.bytesAnHour[row])),
                    value: row => data.columns.bytesAnHour[row]
                });
            if (data.moments.length > 2)
                list.push({
                    key: 'shape',
                    title: 'Shape',
                    isMinor: true,
                    text: row => data.strings[data.columns.shape[row]],
                    value: row => -data.columns.shape[row]
                });
        }
        return [...list, stack];
    }
    const {after, measure} = current;
    const all = current.widths[0];
    const list = [
        {
            key: measure,
            title: measureName(),
            text: row => measure === 'bytes' ? bytesOf(after[row], unknownSizes?.[row]) : grouped(after[row]),
            value: row => after[row],
            part: row => all ? after[row] / all : 0
        },
        {
            key: 'share',
            title: 'Share',
            isMinor: true,
            text: row => measure === 'bytes' && unknownSizes?.[row] ? '–' : share(after[row], all)
        }
    ];
    const {blocks, bytes} = current.held;
    if (measure !== 'blocks')
        list.push({
            key: 'blocks',
            title: 'Live blocks',
            isMinor: true,
            text: row => grouped(blocks[row]),
            value: row => blocks[row]
        });
    if (measure !== 'bytes')
        list.push({
            key: 'bytes',
            title: 'Live bytes',
            isMinor: true,
            text: row => bytesOf(bytes[row], unknownSizes?.[row]),
            value: row => bytes[row]
        });
    if (current.isJudged)
        list.push({
            key: 'verdict',
            title: 'Verdict',
            hint: 'The worst first',
            isText: true,
            text: row => verdicts.cell(row, current.verdict),
            value: row => verdicts.rank(row, current.verdict)
        });
    // For some of the blocks only their number and size are known.
    for (const quantity of current.isEnd && !current.verdict ? quantities : []) {
        const {key, short, hint} = quantity;
        if (short && key !== measure)
            list.push({
                key,
                title: short,
                hint,
                isMinor: true,
                text: row => quantityText(quantity, row),
                value: row => data.columns[key][row]
            });
    }
    return [...list, stack];
}

function figuresOf(row) {
    const figures = [];
    if (current.isGrowth)
        figures.push(['Change', `${signed(current.change[row])} ${current.noun}s`],
            [`At ${momentName(current.at)}`, valueText(current.after[row])],
            [`At ${momentName(current.against)}`, valueText(current.before[row])]);
    for (const quantity of quantities) {
        const text = quantityText(quantity, row);
        if (text !== '–') figures.push([quantity.title, text]);
    }
    if (verdicts) figures.push(...verdicts.figures(row));
    if (data.columns.shape) figures.push(['Shape over the moments', data.strings[data.columns.shape[row]]]);
    return figures;
}
