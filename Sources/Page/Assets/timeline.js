// The timeline of a process, and the selected span.
//
// An image has the process's live bytes and blocks at up to 1,024 times, but what each stack held only at a few: 8 s
// after the start, each time the age has doubled, and at the end. So a span can't start anywhere: it is widened to the
// moments around it, and the page says so. Growth is what a stack held at the later moment minus the earlier.

class Timeline {
    /** `pick(from, to)` gets the numbers of two moments; both null: no span. */
    constructor(data, pick) {
        this.data = data;
        this.pick = pick;
        this.element = make('div', {class: 'timeline'});
        const {timelines, timelinesLeftOut} = data.raw;
        this.charts = [];
        if (timelines.length === 0) {
            this.element.append(
                make('p', {class: 'empty', text: 'No timeline: these inputs tell of one moment each.'}));
            return;
        }
        this.place = make('div');
        if (timelines.length > 1) {
            const field = make('select', {id: 'timeline-of', onchange: event => this.show(Number(event.target.value))},
                ...timelines.map((each, index) => make('option', {value: index, text: each.label})));
            this.element.append(make('div', {class: 'tools'}, labelled('Process', field),
                timelinesLeftOut > 0
                    ? make('span', {class: 'hint', text: `${grouped(timelinesLeftOut)} smaller not shown`})
                    : ''));
        }
        this.element.append(this.place);
        this.show(0);
    }

    /** Whether the moments are on this timeline. */
    get hasMoments() {
        return !this.data.isDiff && this.data.raw.timelines.length === 1 && this.data.moments.length > 1;
    }

    show(number) {
        const line = this.data.raw.timelines[number];
        // The last sample is earlier than the end: add the end, which is known too.
        const times = line.seconds.slice(), bytes = line.bytes.slice(), blocks = line.blocks.slice(),
              rss = line.rss.slice();
        if (line.end.seconds > (times[times.length - 1] ?? -1)) {
            times.push(line.end.seconds);
            bytes.push(line.end.bytes);
            blocks.push(line.end.blocks);
            rss.push(rss[rss.length - 1] ?? null);
        }
        if (times[0] > 0) {
            times.unshift(0);
            bytes.unshift(0);
            blocks.unshift(0);
            rss.unshift(null);
        }
        const hasRSS = rss.some(value => value !== null);
        const marks =
            this.hasMoments ? this.data.moments.slice(1, -1).map(each => ({at: each.seconds, label: each.label})) : [];
        if (line.peak.seconds !== null && line.peak.bytes !== null)
            marks.push({at: line.peak.seconds, label: 'peak', class: 'peak'});
        for (const mark of line.marks) marks.push({at: mark.seconds, label: mark.label, class: 'named'});
        marks.sort((a, b) => a.at - b.at);
        const shared = {
            times,
            from: 0,
            to: times[times.length - 1],
            brush: this.hasMoments ? (from, to) => this.brushed(from, to) : null
        };
        const series = [{name: 'Live bytes', values: bytes, style: 'area', index: 1}];
        if (hasRSS) series.push({name: 'Resident (RSS)', values: rss, index: 2});
        const points = line.residence ? [{at: line.residence.seconds, value: line.residence.allocator, index: 3}] : [];
        this.charts = [
            new TimeChart({label: 'Bytes over time', series, height: 220, marks, points, ...shared}),
            new TimeChart({
                label: 'Live blocks over time',
                series: [{name: 'Live blocks', values: blocks, style: 'area', index: 4}],
                height: 120,
                isBytes: false,
                ...shared
            }),
        ];
        const entries = [['Live bytes', 'key-1']];
        if (hasRSS) entries.push(['Resident (RSS)', 'key-2']);
        if (points.length > 0)
            entries.push([
                `Held by malloc, as measured after ${duration(line.residence.seconds)}: ${
                    grouped(line.residence.allocator)} bytes`,
                'key-3'
            ]);
        entries.push(['Live blocks (below)', 'key-4']);
        if (line.marks.length > 0)
            entries.push([`${counted(line.marks.length, 'mark')} of the program's own`, 'key-named']);
        const known = 'What each stack held is known at the dotted lines, at the start and at the end: ';
        this.place.replaceChildren(...this.charts.map(chart => chart.element), legend(entries), make('p', {
            class: 'hint',
            text: this.hasMoments ? 'Drag over a span to see what grew in it. ' + known + 'a span is widened to those.'
                                  : 'What stood between these times is known of the process, not of each stack.'
        }));
        this.showSpan(this.span);
    }

    brushed(from, to) {
        if (from === null) return this.pick(null, null);
        const {moments} = this.data;
        let first = 0, last = moments.length - 1;
        for (let number = 0; number < moments.length; number++)
            if (moments[number].seconds <= from) first = number;
        for (let number = moments.length - 1; number >= 0; number--)
            if (moments[number].seconds >= to) last = number;
        this.pick(Math.min(first, last - 1), last);
    }

    /** Shows the span between two moments; null: none. */
    showSpan(span) {
        this.span = span;
        if (!this.hasMoments) return;
        const times = span ? span.map(number => this.data.moments[number].seconds) : null;
        for (const chart of this.charts) chart.showSpan(times);
    }
}
