// A graph over time, in SVG: lines, areas, stacked areas, marks at moments, the value under the pointer, and a brush to
// select a span. Colours are classes of the style sheet. A series is drawn as it was measured: a null value breaks the
// line, and nothing is smoothed.

/** Round values for the ticks of an axis from 0 to `most`. */
function ticksTo(most, count, base = 10) {
    if (!(most > 0)) return [0];
    const raw = most / count;
    const power = base ** Math.floor(Math.log(raw) / Math.log(base));
    const steps = base === 10 ? [1, 2, 5, 10] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
    const step = power * (steps.find(each => each * power >= raw) ?? base);
    const ticks = [];
    for (let value = 0; value <= most + step * 1e-9; value += step) ticks.push(value);
    return ticks;
}

/** Round times from `from` to `to`, in seconds. */
function timeTicks(from, to, count) {
    const raw = (to - from) / count;
    const steps = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600,
        7200, 10800, 21600, 43200, 86400, 172800, 604800
    ];
    const step = steps.find(each => each >= raw) ?? Math.ceil(raw / 604800) * 604800;
    const ticks = [];
    for (let value = Math.ceil(from / step) * step; value <= to + step * 1e-6; value += step) ticks.push(value);
    return ticks;
}

class TimeChart {
    /**
     * `series`: { name, values, style: 'line' | 'area', index (of the colour), times }; there is one value for each of
     * `times`, or of the series' own times. `isQuiet` series are not described. `marks`: { at, label }.
     * `brush(from, to)` is called when a span was dragged. `isStacked` stacks the series.
     */
    constructor({
        label,
        times,
        series,
        height = 200,
        from,
        to,
        marks = [],
        points = [],
        brush = null,
        isStacked = false,
        isBytes = true,
        timeText = duration
    }) {
        Object.assign(this, {label, times, series, height, marks, points, brush, isStacked, isBytes, timeText});
        this.from = from ?? times[0] ?? 0;
        this.to = Math.max(to ?? times[times.length - 1] ?? 1, this.from + 1e-3);
        this.svg = make('svg', {role: 'img', 'aria-label': this.description(), class: 'chart'});
        this.element = make('div', {class: 'chart-box'}, this.svg);
        this.svg.addEventListener('pointermove', event => this.point(event));
        this.svg.addEventListener('pointerleave', () => {
            tooltip.hide();
            this.rule?.setAttribute('visibility', 'hidden');
        });
        if (brush) this.makeBrush();
        new ResizeObserver(() => this.draw()).observe(this.element);
    }

    valueText(value) {
        return value === null || value === undefined ? '–'
            : this.isBytes                           ? `${grouped(value)} (${size(value)})`
                                                     : grouped(value);
    }

    description() {
        const parts = this.series.filter(each => !each.isQuiet).map(each => {
            const known = each.values.filter(value => value !== null && value !== undefined);
            if (known.length === 0) return `${each.name}: not known`;
            return `${each.name}: first ${grouped(known[0])}, most ${
                grouped(known.reduce((a, b) => Math.max(a, b)))}, last ${grouped(known[known.length - 1])}`;
        });
        return `${this.label}. ${parts.join('. ')}.`;
    }

    x(time) { return this.left + (time - this.from) / (this.to - this.from) * (this.width - this.left - this.right); }
    timeAt(x) {
        return Math.max(this.from,
            Math.min(
                this.to, this.from + (x - this.left) / (this.width - this.left - this.right) * (this.to - this.from)));
    }

    draw() {
        this.width = Math.floor(this.element.clientWidth);
        if (this.width < 50) return;
        Object.assign(this, {left: 64, right: 12, top: this.marks.length > 0 ? 22 : 8, bottom: 22});
        const stacks = this.stackUp();
        let most = 0;
        let least = 0;
        for (const {upper} of stacks)
            for (const value of upper) {
                if (value > most) most = value;
                if (value !== null && value < least) least = value;
            }
        for (const point of this.points) most = Math.max(most, point.value);
        const floor = this.height - this.bottom;
        const ticks = ticksTo(Math.max(most, -least) || 1, Math.max(2, this.height / 50), this.isBytes ? 1024 : 10)
                          .flatMap(tick => tick > 0 ? [tick, -tick] : [0])
                          .filter(tick => tick >= least && tick <= most || tick === 0);
        const top = most > 0 || least < 0 ? most : 1;
        const y = value => floor - (value - least) / (top - least) * (floor - this.top);
        const parts = [];
        for (const tick of ticks)
            parts.push(
                make('line', {class: 'grid', x1: this.left, x2: this.width - this.right, y1: y(tick), y2: y(tick)}),
                make('text', {class: 'axis', x: this.left - 8, y: y(tick) + 4, 'text-anchor': 'end'},
                    this.isBytes ? roundSize(tick) : short(tick)));
        for (const tick of timeTicks(this.from, this.to, Math.max(2, this.width / 110)))
            parts.push(make('text', {class: 'axis', x: this.x(tick), y: this.height - 5, 'text-anchor': 'middle'},
                this.timeText(tick)));
        stacks.forEach(({lower, upper}, index) => {
            const {style = 'line', index: colour = index + 1} = this.series[index];
            const runs = this.runs(upper);
            if (style === 'area')
                for (const run of runs)
                    parts.push(make('path', {class: `area area-${colour}`, d: this.area(run, lower, upper, y)}));
            for (const run of runs)
                parts.push(make(
                    'path', {class: `series line-${colour}`, d: this.line(run, upper, y, this.series[index].times)}));
        });
        for (const point of this.points)
            parts.push(
                make('circle', {class: `dot line-${point.index}`, cx: this.x(point.at), cy: y(point.value), r: 4}));
        let clear = -Infinity;
        for (const mark of this.marks) {
            const x = this.x(mark.at);
            parts.push(make('line', {class: 'mark ' + (mark.class ?? ''), x1: x, x2: x, y1: this.top - 4, y2: floor},
                make('title', {}, mark.label)));
            const half = mark.label.length * 3.2;
            if (x - half > clear && x + half < this.width) {
                parts.push(make('text', {class: 'axis mark-text', x, y: 12, 'text-anchor': 'middle'}, mark.label));
                clear = x + half + 6;
            }
        }
        this.rule = make('line', {class: 'rule', y1: this.top, y2: floor, visibility: 'hidden'});
        this.span = make('rect', {class: 'span', y: this.top, height: floor - this.top, visibility: 'hidden'});
        this.svg.setAttribute('viewBox', `0 0 ${this.width} ${this.height}`);
        this.svg.style.height = this.height + 'px';
        this.svg.replaceChildren(this.span, ...parts, this.rule);
        this.showSpan(this.chosen);
    }

    stackUp() {
        const below = new Array(this.times.length).fill(0);
        return this.series.map(each => {
            if (each.times) return {lower: null, upper: each.values};
            const lower = below.slice();
            const upper = each.values.map((value, index) => value === null || value === undefined ? null
                    : this.isStacked                                                              ? below[index] + value
                                                                                                  : value);
            if (this.isStacked)
                upper.forEach((value, index) => {
                    if (value !== null) below[index] = value;
                });
            return {lower: this.isStacked ? lower : null, upper};
        });
    }

    runs(values) {
        const runs = [];
        let start = -1;
        for (let index = 0; index <= values.length; index++) {
            const isKnown = index < values.length && values[index] !== null;
            if (isKnown && start < 0) start = index;
            if (!isKnown && start >= 0) {
                runs.push([start, index]);
                start = -1;
            }
        }
        return runs;
    }

    coordinates([first, end], values, y, times = this.times) {
        const list = [];
        for (let index = first; index < end; index++)
            list.push(`${this.x(times[index]).toFixed(1)} ${y(values[index]).toFixed(1)}`);
        if (list.length === 1) list.push(list[0]);
        return list;
    }

    line(run, values, y, times) { return 'M' + this.coordinates(run, values, y, times).join('L'); }
    area(run, lower, upper, y) {
        const floor = lower ?? new Array(upper.length).fill(0);
        return this.line(run, upper, y) + 'L' + this.coordinates(run, floor, y).reverse().join('L') + 'Z';
    }

    nearest(time, times = this.times) {
        let low = 0, high = times.length - 1;
        while (high - low > 1) {
            const middle = low + high >> 1;
            times[middle] <= time ? low = middle : high = middle;
        }
        return Math.abs(times[low] - time) <= Math.abs(times[high] - time) ? low : high;
    }

    point(event) {
        if (this.times.length === 0 || !this.rule) return;
        const index = this.nearest(this.timeAt(event.clientX - this.svg.getBoundingClientRect().left));
        const x = this.x(this.times[index]);
        this.rule.setAttribute('x1', x);
        this.rule.setAttribute('x2', x);
        this.rule.setAttribute('visibility', 'visible');
        const shown = [];
        for (const [number, each] of this.series.entries()) {
            const own = each.times ? this.nearest(this.times[index], each.times) : index;
            // A series that has ended or has not begun has no value here.
            if (each.times
                && (this.times[index] < each.times[0] - 1 || this.times[index] > each.times[each.times.length - 1] + 1))
                continue;
            shown.push([
                each.name, this.valueText(each.values[own]), `key-${each.index ?? number + 1}`,
                Math.abs(each.values[own] ?? -1)
            ]);
        }
        if (shown.length > 8) shown.sort((a, b) => b[3] - a[3]);
        tooltip.show(event.clientX, event.clientY, make('strong', {text: this.timeText(this.times[index])}),
            tooltip.lines(shown.slice(0, 12)),
            shown.length > 12 ? make('p', {text: `and ${shown.length - 12} more`}) : '');
    }

    makeBrush() {
        let start = null;
        this.svg.classList.add('brushed');
        const time = event => this.timeAt(event.clientX - this.svg.getBoundingClientRect().left);
        this.svg.addEventListener('pointerdown', event => {
            start = time(event);
            this.svg.setPointerCapture(event.pointerId);
            event.preventDefault();
        });
        this.svg.addEventListener('pointermove', event => {
            if (start !== null) this.drawSpan([Math.min(start, time(event)), Math.max(start, time(event))], 'dragging');
        });
        const end = event => {
            if (start === null) return;
            const [from, to] = [Math.min(start, time(event)), Math.max(start, time(event))];
            start = null;
            // A click is no span: it removes the selected one.
            (this.x(to) - this.x(from) < 5) ? this.brush(null, null) : this.brush(from, to);
            this.showSpan(this.chosen);
        };
        this.svg.addEventListener('pointerup', end);
        this.svg.addEventListener('pointercancel', () => {
            start = null;
            this.showSpan(this.chosen);
        });
    }

    /** Shows a span as selected; null: none. */
    showSpan(span) {
        this.chosen = span;
        this.drawSpan(span, '');
    }

    drawSpan(span, name) {
        if (!this.span) return;
        this.span.setAttribute('visibility', span ? 'visible' : 'hidden');
        this.span.setAttribute('class', 'span ' + name);
        if (!span) return;
        this.span.setAttribute('x', this.x(span[0]));
        this.span.setAttribute('width', Math.max(1, this.x(span[1]) - this.x(span[0])));
    }
}

const short = value => Math.abs(value) >= 1e9 ? +(value / 1e9).toFixed(1) + ' G'
    : Math.abs(value) >= 1e6                  ? +(value / 1e6).toFixed(1) + ' M'
    : Math.abs(value) >= 1e4                  ? +(value / 1e3).toFixed(1) + ' k'
                                              : grouped(value);

/** The legend of the series' colours. */
const legend = entries => make('ul', {class: 'legend'},
    ...entries.map(([name, key]) => make('li', {}, make('span', {class: 'key ' + key, 'aria-hidden': 'true'}), name)));
