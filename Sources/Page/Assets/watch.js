// The page of heapwatch's recording: what grows, a graph of all processes, memory by class, and tables with first and
// last values. Growing processes are named and coloured; the others are grey lines behind them.

const raw = JSON.parse(document.getElementById('data').textContent);
const watch = new State({series: 0, from: 'level', processes: '-change', slabs: '-change', filter: '', all: 'no'});
const seriesNames = [['Memory of its own', true], ['Shared memory', true], ['Threads', false], ['Descriptors', false]];
const days = raw.to - raw.from > 2 * 86400;
const clock = seconds => {
    const date = new Date(seconds * 1000).toISOString();
    return days ? date.slice(5, 10) + ' ' + date.slice(11, 16) : date.slice(11, raw.to - raw.from < 600 ? 19 : 16);
};
const amount = (value, isBytes) => isBytes ? `${grouped(value)} (${size(value)})` : grouped(value);
const change = (value, isBytes) => isBytes ? `${signed(value)} (${size(value)})` : signed(value);
const growingPIDs = new Map();
for (const finding of raw.growing)
    if (finding.pid !== null && !growingPIDs.has(finding.pid)) growingPIDs.set(finding.pid, growingPIDs.size);

function growingCards() {
    if (raw.growing.length === 0 && raw.undrained.length === 0 && raw.leftBehind.length === 0) {
        return make('p', {
            class: 'empty',
            text: raw.samples < 8 ? `Too early to say: ${counted(raw.samples, 'sample')} prove nothing. Let it run on.`
                                  : 'Nothing grows, nothing waits in a socket, and no job left anything behind.'
        });
    }
    const rows = raw.growing.map(
        each => make('tr', {},
            make('th', {scope: 'row'}, each.name,
                each.pid !== null
                    ? make('span', {
                          class: 'hint',
                          text: ` pid ${each.pid}${each.hasEnded ? ', ended' : ''}${
                              each.successorOf !== null ? `, after ${each.successorOf}` : ''}`
                      })
                    : '',
                each.words && each.words !== each.name ? make('div', {
                    class: 'hint',
                    text: each.words.length > 80 ? each.words.slice(0, 79) + '…' : each.words,
                    title: each.words
                })
                                                       : '',
                each.holders.length > 0 ? make('div', {
                    class: 'hint',
                    text: `of ${each.holders[0]}, ${
                        each.holders.length > 1 ? 'held by ' + each.holders.slice(1).join(', ')
                                                : 'held by no process that is watched'}`
                })
                                        : '',
                each.followers.length > 0
                    ? make('div', {class: 'hint', text: `therefore grow, too: ${each.followers.join(', ')}`})
                    : ''),
            make('td', {text: each.what}), make('td', {
                class: 'number',
                text: each.isBytes ? size(each.first) : grouped(each.first),
                title: grouped(each.first)
            }),
            make('td', {
                class: 'number',
                text: each.isBytes ? size(each.last) : grouped(each.last),
                title: grouped(each.last)
            }),
            make('td', {
                class: 'number',
                text: `${each.isBytes ? size(each.perHour) : grouped(each.perHour)}`,
                title: `${grouped(each.perHourLow)} to ${grouped(each.perHourHigh)} an hour, p ${each.pValue}`
            }),
            make('td', {text: each.exhaustedAt !== null ? moment(each.exhaustedAt) : '–'}),
            make('td', {class: 'command'}, each.command ? make('code', {text: each.command}) : '',
                each.remark ? make('span', {class: 'hint', text: each.remark}) : '')));
    const parts = [];
    if (rows.length > 0)
        parts.push(make('div', {class: 'table-box'},
            make('table', {class: 'plain', id: 'growing-table'},
                make('thead', {},
                    make('tr', {},
                        ...['Who', 'What', 'First', 'Last', 'An hour', 'Used up at', 'Next'].map(
                            (head, index) => make(
                                'th', {scope: 'col', class: index > 1 && index < 5 ? 'number' : '', text: head})))),
                make('tbody', {}, ...rows))));
    if (raw.undrained.length > 0)
        parts.push(make('h3', {text: 'Waiting in sockets'}),
            make('ul', {},
                ...raw.undrained.map(
                    each => make('li', {},
                        `${each.name}, pid ${each.pid}: ${amount(each.bytes, true)} in the ${each.what} of ${
                            counted(each.sockets, 'socket')}, for ${duration(each.seconds)}. `,
                        make('code', {text: each.command})))));
    if (raw.leftBehind.length > 0)
        parts.push(make('h3', {text: 'Left behind by jobs'}),
            make('ul', {},
                ...raw.leftBehind.map(each => make('li', {},
                                          `${each.job}: ${amount(each.amount, each.isBytes)} of ${each.what}, by ${
                                              each.runs} of ${counted(each.allRuns, 'run')}. `,
                                          each.command ? make('code', {text: each.command}) : ''))));
    return make('div', {}, ...parts);
}

const graphPlace = make('div');
const graphNote = make('p', {class: 'hint'});
function showProcesses() {
    const number = watch.values.series >= 0 && watch.values.series < seriesNames.length ? watch.values.series : 0;
    const isChange = watch.values.from === 'change';
    const [name, isBytes] = seriesNames[number];
    const shown = raw.processes.filter(each => each.series);
    const lines = shown
                      .map(each => {
                          const place = growingPIDs.get(each.pid);
                          const values = each.series[number];
                          return {
                              name: `${each.name} · ${each.pid}`,
                              times: each.times,
                              values: isChange ? values.map(value => value - values[0]) : values,
                              index: place === undefined ? 'quiet' : place % 8 + 1,
                              isQuiet: place === undefined,
                              weight: place ?? -1
                          };
                      })
                      .sort((a, b) => a.weight - b.weight);
    // The pointer's times: the moments of the process with the most samples.
    const times = shown.reduce((longest, each) => each.times.length > longest.length ? each.times : longest, []);
    if (lines.length === 0) {
        graphPlace.replaceChildren(make('p', {class: 'empty', text: 'No process was there for two samples.'}));
        graphNote.textContent = '';
        return;
    }
    const chart = new TimeChart({
        label: `${name} of ${counted(lines.length, 'process')}`.replace('processs', 'processes'),
        times,
        series: lines,
        height: 340,
        from: raw.from,
        to: raw.to,
        isBytes,
        timeText: clock
    });
    const named = [...growingPIDs].map(
        ([pid, place]) => [`${raw.growing.find(each => each.pid === pid).name}, pid ${pid}`, `key-${place % 8 + 1}`]);
    graphPlace.replaceChildren(
        chart.element, legend([...named, [named.length > 0 ? 'others' : 'none of them grows', 'key-quiet']]));
    const rest = raw.processCount - lines.length;
    graphNote.textContent = `${grouped(lines.length)} processes, times in UTC.`
        + (rest > 0 ? ` ${grouped(rest)} more were there too shortly, or held less: not drawn.` : '');
}

/** The large classes one by one, and the small ones together, so that the whole is complete. */
function memoryChart() {
    const {classes, times, total} = raw.memory;
    if (classes.length === 0) return make('p', {class: 'empty', text: 'Nothing is known of the machine’s memory.'});
    const most = each => each.most;
    const kept = classes.filter(each => each.name !== 'free').sort((a, b) => most(b) - most(a)).slice(0, 7);
    const rest = classes.filter(each => each.name !== 'free' && !kept.includes(each));
    const order = classes.filter(each => kept.includes(each));
    const positive = values => values.map(value => Math.max(0, value));
    const series = order.map(
        (each, index) => ({name: each.title, values: positive(each.values), style: 'area', index: index + 1}));
    if (rest.length > 0)
        series.push({
            name: `${grouped(rest.length)} smaller classes`,
            values: times.map((_, moment) => rest.reduce((sum, each) => sum + Math.max(0, each.values[moment]), 0)),
            style: 'area',
            index: 8
        });
    series.push(
        {name: 'free', values: positive(classes.find(each => each.name === 'free').values), style: 'area', index: 9});
    const chart = new TimeChart({
        label: 'Memory of the machine by class, stacked',
        times,
        series,
        height: 300,
        from: raw.from,
        to: raw.to,
        isStacked: true,
        timeText: clock
    });
    return make('div', {class: 'stacked'}, chart.element, legend(series.map(each => [each.name, 'key-' + each.index])),
        make('p', {class: 'hint', text: `Of ${amount(total, true)} in all, each page in one class.`}));
}

/** A sortable table of { name, first, last, most }; `key` is the state's key for its order. */
function startAndEnd(key, id, heads, rows, cells) {
    const place = make('div', {class: 'table-box tall', id});
    const draw = () => {
        const text = watch.values[key], order = text.replace(/^-/, ''), isDescending = text.startsWith('-');
        const value = heads.find(head => head.key === order)?.value ?? heads.find(head => head.key === 'change').value;
        const filter = matcher(watch.values.filter).test;
        const found = rows.filter(row => !filter || filter(row.name) || (row.command && filter(row.command)));
        const sorted = [...found].sort((a, b) => {
            const [x, y] = [value(a), value(b)];
            const by = typeof x === 'string' ? x.localeCompare(y) : x - y;
            return isDescending ? -by : by;
        });
        const shown = watch.values.all === 'yes' ? sorted : sorted.slice(0, 40);
        place.replaceChildren(
            make('table', {class: 'plain'},
                make('thead', {},
                    make('tr', {},
                        ...heads.map(
                            head => make('th', {
                                scope: 'col',
                                class: head.isNumber ? 'number' : '',
                                'aria-sort': head.key === order ? (isDescending ? 'descending' : 'ascending') : 'none'
                            },
                                make('button', {
                                    type: 'button',
                                    class: 'head',
                                    'data-sort': head.key,
                                    text: head.title,
                                    onclick: () => watch.set(
                                        {[key]: head.key === order && isDescending ? head.key : '-' + head.key})
                                }))))),
                make('tbody', {}, ...shown.map(cells))),
            found.length > shown.length ? make('button', {
                type: 'button',
                class: 'more',
                text: `Show all ${grouped(found.length)}`,
                onclick: () => watch.set({all: 'yes'})
            })
                                        : '',
            found.length === 0 ? make('p', {class: 'empty', text: 'Nothing of that name.'}) : '');
    };
    draw();
    watch.follow(changed => {
        if (changed.has(key) || changed.has('filter') || changed.has('all')) draw();
    });
    return place;
}

const numberCell = (value, isBytes) =>
    make('td', {class: 'number', text: grouped(value), title: isBytes ? size(value) : null});
const changeCell = (value, isBytes) => make('td', {
    class: 'number '
        + (value > 0        ? 'is-up'
                : value < 0 ? 'is-down'
                            : ''),
    text: signed(value),
    title: isBytes ? size(value) : null
});

function processTable() {
    const descriptors = raw.processMetrics.map((each, index) => [each, index]).slice(6, -1).map(each => each[1]);
    const open = list => descriptors.reduce((sum, index) => sum + list[index], 0);
    const heads = [
        {key: 'name', title: 'Process', value: row => row.name},
        {key: 'pid', title: 'PID', value: row => row.pid, isNumber: true},
        {key: 'first', title: 'Memory, first', value: row => row.first[0], isNumber: true},
        {key: 'last', title: 'last', value: row => row.last[0], isNumber: true},
        {key: 'change', title: 'change', value: row => row.last[0] - row.first[0], isNumber: true},
        {key: 'most', title: 'most', value: row => row.most[0], isNumber: true},
        {key: 'threads', title: 'Threads', value: row => row.last[2] - row.first[2], isNumber: true},
        {key: 'descriptors', title: 'Descriptors', value: row => open(row.last) - open(row.first), isNumber: true},
        {key: 'seconds', title: 'Seen for', value: row => row.to - row.from, isNumber: true},
    ];
    return startAndEnd('processes', 'process-table', heads, raw.processes,
        row => make('tr', {class: growingPIDs.has(row.pid) ? 'grows' : ''},
            make('th', {scope: 'row', title: row.command}, row.name,
                growingPIDs.has(row.pid) ? make('span', {class: 'tag', text: 'grows'}) : ''),
            make('td', {class: 'number', text: row.pid ?? '–'}), numberCell(row.first[0], true),
            numberCell(row.last[0], true), changeCell(row.last[0] - row.first[0], true), numberCell(row.most[0], true),
            make('td', {class: 'number', text: `${grouped(row.first[2])} → ${grouped(row.last[2])}`}),
            make('td', {class: 'number', text: `${grouped(open(row.first))} → ${grouped(open(row.last))}`}),
            make('td', {class: 'number', text: duration(row.to - row.from) + (row.hasEnded ? ', ended' : '')})));
}

function levelTable(key, id, rows, isBytes = true) {
    const heads = [
        {key: 'name', title: 'Name', value: row => row.name},
        {key: 'first', title: 'First', value: row => row.first, isNumber: true},
        {key: 'last', title: 'Last', value: row => row.last, isNumber: true},
        {key: 'change', title: 'Change', value: row => row.last - row.first, isNumber: true},
        {key: 'most', title: 'Most', value: row => row.most, isNumber: true}
    ];
    return startAndEnd(key, id, heads, rows,
        row => make('tr', {}, make('th', {scope: 'row', text: row.title ?? row.name}), numberCell(row.first, isBytes),
            numberCell(row.last, isBytes), changeCell(row.last - row.first, isBytes), numberCell(row.most, isBytes)));
}

/** How busy the machine was: uptime's and top's lines at the first and last sample, graphs, and the top processes. */
function loadParts() {
    const {series, pressure, busiest, heads, processors, uptimeFirst, uptimeLast} = raw.load;
    const parts = [];
    if (heads.length === 2)
        parts.push(make('div', {class: 'histograms', id: 'heads'},
            ...[['At the first sample', heads[0], raw.from], ['At the last sample', heads[1], raw.to]].map(
                ([title, lines, at]) => make('figure', {}, make('figcaption', {text: `${title}, ${moment(at)}`}),
                    make('pre', {text: lines.join('\n')})))));
    if (uptimeLast !== null && uptimeFirst !== null && uptimeLast < uptimeFirst)
        parts.push(make('p', {class: 'note', text: 'The machine was started again meanwhile.'}));
    const unit = name => name.includes('pressure') || name.includes('processors') ? ' %' : '';
    const isBytes = name => name.startsWith('swapped');
    const text = (name, value) => isBytes(name) ? `${size(value)} a second` : `${value.toFixed(2)}${unit(name)}`;
    const caption = ({name, first, last, most}) => {
        const on = name === 'load' && processors > 0 ? `, on ${counted(processors, 'processor')}` : '';
        return `${name}${on}: ${text(name, first)} → ${text(name, last)}, at most ${text(name, most)}`;
    };
    const drawn = series.filter(each => each.name === 'load' || each.most > 0);
    if (drawn.length > 0)
        parts.push(make('div', {class: 'histograms', id: 'load-graphs'},
            ...drawn.map((each, index) => make('figure', {}, make('figcaption', {text: caption(each)}), new TimeChart({
                label: each.name,
                times: each.times,
                series: [{name: each.name, values: each.values, index: index % 8 + 1}],
                height: 120,
                from: raw.from,
                to: raw.to,
                isBytes: isBytes(each.name),
                timeText: clock
            }).element))));
    if (pressure.length > 0)
        parts.push(make('p', {
            class: 'hint',
            id: 'pressure',
            text: pressure
                      .map(each => `something waited for ${each.name} ${(each.some * 100).toFixed(1)} % of the time${
                               each.full !== null ? `, everything ${(each.full * 100).toFixed(1)} %` : ''}`)
                      .join('; ')
                + '.'
        }));
    if (busiest.length > 0)
        parts.push(
            make('div', {class: 'table-box'},
                make('table', {class: 'plain', id: 'busiest-table'},
                    make('thead', {},
                        make('tr', {},
                            ...['Who used the processors', 'PID', 'Seconds', 'Of a processor'].map(
                                (head, index) =>
                                    make('th', {scope: 'col', class: index > 0 ? 'number' : '', text: head})))),
                    make('tbody', {},
                        ...busiest.map(
                            each => make('tr', {}, make('th', {
                                scope: 'row',
                                text: each.name.length > 80 ? each.name.slice(0, 79) + '…' : each.name,
                                title: each.name
                            }),
                                make('td', {class: 'number', text: each.pid}),
                                make('td', {class: 'number', text: grouped(Math.round(each.seconds))}), make('td', {
                                    class: 'number',
                                    text: each.share === null ? '–' : `${(each.share * 100).toFixed(1)} %`
                                })))))));
    return parts;
}

const matcher = text => {
    const word = text.trim().toLowerCase();
    return {test: word ? value => value.toLowerCase().includes(word) : null};
};

{
    document.getElementById('masthead')
        .replaceChildren(make('div', {class: 'title'}, make('h1', {text: raw.host || 'A machine'}), make('p', {
            class: 'subtitle',
            text: `${moment(raw.from)} to ${moment(raw.to)}, ${duration(raw.to - raw.from)} · ${
                counted(raw.samples, 'sample')}, one every ${duration(raw.intervalSeconds)} ${
                raw.kernel ? ` · Linux ${raw.kernel}` : ''}`
        })),
            make('div', {class: 'tools'}, make('span', {class: 'brand', text: raw.tool}), look.switch()));
    const tile = (name, value, more, id) => make('div', {class: 'tile'}, make('dt', {text: name}),
        make('dd', {}, make('span', {class: 'figure', id, text: value}), make('span', {class: 'more', text: more})));
    const level = name => raw.memory.classes.find(each => each.name === name);
    const tiles = [
        tile('Growing', grouped(raw.growing.length), `of ${grouped(raw.tests)} series looked at`, 'growing-count'),
        tile('Processes', grouped(raw.processCount), 'seen in all', 'process-count')
    ];
    if (raw.memory.total > 0)
        tiles.push(tile('Memory', size(raw.memory.total), grouped(raw.memory.total) + ' bytes', 'memory-total'),
            tile('Free', size(level('free').last), change(level('free').last - level('free').first, true),
                'memory-free'),
            tile('Unexplained', size(level('unexplained').last),
                change(level('unexplained').last - level('unexplained').first, true), 'memory-unexplained'));
    if (raw.ownShare !== null)
        tiles.push(tile('heapwatch itself', `${(raw.ownShare * 100).toFixed(2)} %`,
            `of a processor${raw.ownBytes ? ', ' + size(raw.ownBytes) : ''}`, 'own-share'));

    const load = raw.load.series.find(each => each.name === 'load');
    if (load)
        tiles.push(tile('Load', load.last.toFixed(2),
            `at first ${load.first.toFixed(2)}, at most ${load.most.toFixed(2)}`, 'load-last'));

    const seriesField = make('select', {id: 'series', onchange: () => watch.set({series: Number(seriesField.value)})},
        ...seriesNames.map(([text], value) => make('option', {value, text})));
    const fromSwitch =
        switcher('From', [['level', 'Level'], ['change', 'Change since first seen']], from => watch.set({from}));
    const filterField = make('input', {
        type: 'search',
        id: 'filter',
        placeholder: 'Name or command',
        'aria-label': 'Filter the tables by name or command',
        oninput: () => watch.set({filter: filterField.value})
    });
    const show = () => {
        seriesField.value = String(watch.values.series);
        fromSwitch.show(watch.values.from === 'change' ? 'change' : 'level');
        if (document.activeElement !== filterField) filterField.value = watch.values.filter;
    };
    const warnings = raw.warnings.length > 0
        ? make(raw.warnings.length > 3 ? 'details' : 'div', {class: 'notes', id: 'notes'},
            raw.warnings.length > 3 ? make('summary', {text: `${grouped(raw.warnings.length)} notes on the recording`})
                                    : null,
            make('ul', {}, ...raw.warnings.map(text => make('li', {text}))))
        : null;
    const parts = [
        warnings, make('dl', {class: 'tiles'}, ...tiles), section('growing', 'What grows', [], growingCards()),
        loadParts().length > 0 ? section('load', 'Load, at first and at last', [], ...loadParts()) : null,
        section('processes', 'Processes', [labelled('Show', seriesField), fromSwitch], graphPlace, graphNote),
        section('memory', 'Memory by class', [], memoryChart()),
        make('div', {class: 'toolbar', role: 'search'}, filterField),
        section('process-levels', 'Processes: first and last', [], processTable()),
        section('classes', 'Classes of memory: first and last', [],
            raw.memory.classes.length > 0 ? levelTable('slabs', 'class-table', raw.memory.classes)
                                          : make('p', {class: 'empty', text: 'Not known.'}))
    ];
    if (raw.slabs.length > 0)
        parts.push(section('slab', 'Slab caches: first and last', [], levelTable('slabs', 'slab-table', raw.slabs)));
    if (raw.groups.length > 0)
        parts.push(section('group', 'Control groups, tmpfs, files in memory, segments: first and last', [],
            levelTable('slabs', 'group-table', raw.groups)));
    if (raw.counts.length > 0)
        parts.push(section('counts', 'Open files and other counts', [],
            make('div', {class: 'histograms'},
                ...raw.counts.map(
                    (each, index) => make('figure', {},
                        make('figcaption', {text: `${each.name}: ${grouped(each.first)} → ${grouped(each.last)}`}),
                        new TimeChart({
                            label: each.name,
                            times: each.times,
                            series: [{name: each.name, values: each.values, index: index % 8 + 1}],
                            height: 120,
                            from: raw.from,
                            to: raw.to,
                            isBytes: false,
                            timeText: clock
                        }).element)))));
    document.getElementById('main').replaceChildren(...parts.filter(part => part));
    document.body.append(announcer);
    show();
    showProcesses();
    watch.follow(changed => {
        show();
        if (changed.has('series') || changed.has('from')) showProcesses();
    });
    document.documentElement.dataset.ready = 'true';
    requestAnimationFrame(() => performance.mark('heapsum-drawn'));
}
