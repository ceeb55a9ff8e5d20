// Formats numbers and times, and makes elements. Text from the data reaches the document only through `make`, as text
// nodes: no name can become markup.

const whole = new Intl.NumberFormat('en-US', {maximumFractionDigits: 0});
const grouped = value => value === null || value === undefined ? '–' : whole.format(value);
const signed = value => (value > 0 ? '+' : value < 0 ? '−' : '') + whole.format(Math.abs(value));
const counted = (value, noun) => `${grouped(value)} ${noun}${value === 1 ? '' : 's'}`;

/** A size in a few characters: 1,023 B, 4.2 MiB. */
function size(bytes) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
    let value = Math.abs(bytes), unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
        value /= 1024;
        unit++;
    }
    const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
    return (bytes < 0 ? '−' : '') + value.toFixed(digits) + ' ' + units[unit];
}

/** A size without a zero after the point: 8 MiB. */
const roundSize = bytes => size(bytes).replace(/\.0+ /, ' ');

/** A share of a whole, as text; 0 of 0 is no share. */
function share(part, all) {
    if (!all) return '–';
    const percent = 100 * part / all;
    const magnitude = Math.abs(percent);
    if (magnitude > 0 && magnitude < 0.05) return '< 0.1 %';
    return percent.toFixed(magnitude >= 99.95 ? 0 : 1).replace('-', '−') + ' %';
}

/** A length of time: 35 ms, 12 s, 5 min, 3.2 h, 4.1 d. */
function duration(seconds) {
    if (seconds === null || seconds === undefined) return '–';
    const short = value => value >= 10 ? value.toFixed(0) : String(+value.toFixed(1));
    if (seconds < 1) return Math.floor(Math.max(0, seconds) * 1000) + ' ms';
    if (seconds < 120) return short(seconds) + ' s';
    if (seconds < 7200) return short(seconds / 60) + ' min';
    if (seconds < 172800) return short(seconds / 3600) + ' h';
    return short(seconds / 86400) + ' d';
}

/** A moment since 1970, in UTC. */
function moment(unixSeconds) {
    const date = new Date(unixSeconds * 1000);
    return Number.isNaN(date.getTime()) ? '–' : date.toISOString().replace('T', ' ').slice(0, 19) + ' UTC';
}

/**
 * An element. `properties` are attributes; `on…` functions are listeners; `text` is its text. Children are elements,
 * strings, or nothing.
 */
function make(name, properties = {}, ...children) {
    const svg = ['svg', 'path', 'g', 'line', 'rect', 'text', 'circle', 'title'].includes(name);
    const element = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
        if (value === null || value === undefined || value === false) continue;
        if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
        else if (key === 'text') element.textContent = value;
        else element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
    return element;
}

/** A field with its label before it. */
const labelled = (text, field) => make('label', {class: 'field'}, make('span', {text}), field);

/** A section of the page with a heading; `tools` are shown beside the heading. */
function section(id, title, tools = [], ...children) {
    return make('section', {id, class: 'panel', 'aria-labelledby': id + '-title'},
        make('div', {class: 'panel-head'}, make('h2', {id: id + '-title', text: title}),
            make('div', {class: 'tools'}, ...tools)),
        ...children);
}

/** Buttons of which one is pressed. `choices` are [value, text]; `pick` is called with the chosen value. */
function switcher(label, choices, pick) {
    const buttons = choices.map(
        ([value, text]) => make('button',
            {type: 'button', 'data-value': value, 'aria-pressed': 'false', text, onclick: () => pick(value)}));
    const group = make('div', {class: 'switcher', role: 'group', 'aria-label': label}, ...buttons);
    group.show = value =>
        buttons.forEach(button => button.setAttribute('aria-pressed', String(button.dataset.value === value)));
    return group;
}
