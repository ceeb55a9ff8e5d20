// What the page says of the whole heap: the totals, the notes on what is missing, and the inputs.

function facts() {
    const {inputs} = data.raw;
    const pairs = inputs.length === 1 ? inputPairs(inputs[0]) : [];
    return section('facts', inputs.length === 1 ? 'Process' : 'Inputs', [],
        inputs.length === 1
            ? make('dl', {class: 'facts'},
                ...pairs.map(([name, value]) => make('div', {}, make('dt', {text: name}), make('dd', {text: value}))))
            : make('div', {class: 'table-box'},
                make('table', {class: 'plain'},
                    make('thead', {},
                        make('tr', {},
                            ...['Program', 'PID', 'State', 'Live bytes', 'Live blocks', 'File'].map(
                                (head, index) => make('th', {
                                    scope: 'col',
                                    class: index === 1 || index === 3 || index === 4 ? 'number' : '',
                                    text: head
                                })))),
                    make('tbody', {},
                        ...inputs.map(
                            each => make('tr', {}, make('td', {text: baseName(each.program ?? '–')}),
                                make('td', {class: 'number', text: each.pid ?? '–'}), make('td', {text: each.state}),
                                make('td', {class: 'number', text: grouped(each.bytes)}),
                                make('td', {class: 'number', text: grouped(each.blocks)}),
                                make('td', {class: 'path', text: each.path})))))));
}

function inputPairs(input) {
    return [
        ['Program', input.program ?? 'not known'], input.pid ? ['PID', String(input.pid)] : null,
        ['State', input.state],
        input.startedUnix ? ['Recorded from', `${moment(input.startedUnix)}, for ${duration(input.seconds)}`] : null,
        input.allocator ? ['Allocator', input.allocator] : null,
        input.depth ? ['Stacks', `at most ${counted(input.depth, 'frame')}`] : null,
        input.rssPeakBytes ? ['Resident, at most', `${grouped(input.rssPeakBytes)} bytes`] : null, ['File', input.path]
    ].filter(pair => pair);
}

/** The notes that a reader must know before trusting a number. */
function warnings() {
    const list = [...data.raw.warnings];
    for (const input of data.raw.inputs)
        for (const [what, count] of input.losses ?? [])
            list.push(`${grouped(count)} ${what}${data.raw.inputs.length > 1 ? ' (' + input.path + ')' : ''}.`);
    const left = data.raw.left;
    if (left.filtered > 0)
        list.push(`${counted(left.filtered, 'stack')} left out by filters${
            left.filteredBytes ? `, with ${grouped(left.filteredBytes)} bytes` : ''}.`);
    if (left.below > 0)
        list.push(`${counted(left.below, 'more stack')} below --top${
            left.belowBytes ? `, with ${grouped(left.belowBytes)} bytes` : ''}.`);
    if (left.suppressed > 0)
        list.push(`${counted(left.suppressed, 'stack')} suppressed, with ${grouped(left.suppressedBytes)} bytes.`);
    if (left.unchanged > 0)
        list.push(
            `${counted(left.unchanged, 'stack')} unchanged, with ${grouped(left.unchangedBytes)} bytes: not shown.`);
    if (data.raw.blocks) list.push(`Here: ${data.raw.blocks}.`);
    if (list.length === 0) return null;
    const items = make('ul', {}, ...list.map(text => make('li', {text})));
    return list.length <= 3
        ? make('div', {class: 'notes', role: 'note', id: 'notes'}, items)
        : make('details', {class: 'notes', id: 'notes'},
            make('summary', {text: `${grouped(list.length)} notes on what is missing here`}), items);
}

function tiles() {
    const t = data.raw.totals;
    const tile = (name, value, more, id) => make('div', {class: 'tile'}, make('dt', {text: name}),
        make('dd', {}, make('span', {class: 'figure', id, text: grouped(value)}),
            more ? make('span', {class: 'more', text: more}) : null));
    const sized = t.liveBlocks - (t.blocksOfUnknownSize ?? 0);
    const list = [
        tile('Live bytes', t.liveBytes,
            t.blocksOfUnknownSize ? `of ${counted(t.blocksOfUnknownSize, 'block')} not known` : size(t.liveBytes),
            'total-bytes'),
        tile('Live blocks', t.liveBlocks, sized > 0 ? `${grouped(t.liveBytes / sized)} bytes each` : '', 'total-blocks')
    ];
    if (t.blocksOfUnknownSize)
        list[0].querySelector('.figure').textContent = bytesOf(t.liveBytes, t.blocksOfUnknownSize);
    if (data.isDiff)
        list.push(tile('Bytes before', t.bytesBefore, `${signed(t.liveBytes - t.bytesBefore)} since`, 'total-before'),
            tile('Blocks before', t.blocksBefore, `${signed(t.liveBlocks - t.blocksBefore)} since`));
    else {
        if (t.peakBytes !== null) list.push(tile('Peak', t.peakBytes, size(t.peakBytes), 'total-peak'));
        if (t.allocatedBytes !== null)
            list.push(tile('Allocated, ever', t.allocatedBytes,
                `${counted(t.allocatedBlocks, 'block')}, ${share(t.freedBlocks, t.allocatedBlocks)} freed`,
                'total-allocated'));
    }
    list.push(tile('Unique stacks', t.uniqueStacks, '', 'total-stacks'));
    return make('dl', {class: 'tiles'}, ...list);
}
