// The words for values, moments and nodes: in the tooltip, in announcements, and for screen readers.

const valueText = value => current.isBytes ? `${grouped(value)} bytes` : counted(value, 'block');
const momentName = number => data.moments[number]?.label ?? 'the end';
const measureName = () => measures.find(([key]) => key === current.measure)?.[1] ?? current.measure;

function details(node) {
    const {tree, widths, values, changes, isGrowth, isBytes} = current;
    const unit = isBytes ? value => `${grouped(value)} (${size(value)})` : grouped;
    const module = node > 0 ? data.functions.modulePath(tree.function [node]) : '';
    const value = values[node];
    let lines;
    if (isGrowth) {
        const change = isBytes ? `${signed(changes[node])} (${size(changes[node])})` : signed(changes[node]);
        lines = [['Change', change], ['After', unit(value)], ['Before', unit(value - changes[node])]];
    } else {
        const zoomed = current.zoom > 0 ? ['Of what is zoomed to', share(value, widths[current.zoom])] : null;
        const said = (current.ofVerdicts ?? []).filter(([, sums]) => sums[node] > 0).map(([kind,
            sums]) => [verdictTitles[kind], `${unit(sums[node])}, ${share(sums[node], value)}`, 'key-' + kind]);
        lines = [[measureName(), unit(value)], ['Of all', share(value, widths[0])], zoomed, ...said];
    }
    const place = module ? make('p', {class: 'module', text: module}) : '';
    return [make('strong', {text: tree.name(node)}), place, tooltip.lines(lines)];
}

function sentence(node) {
    const {tree, widths, values, changes, isGrowth} = current;
    const module = tree.moduleName(node);
    return `${tree.name(node)}${module ? ' in ' + module : ''}: `
        + (isGrowth ? `${signed(changes[node])} ${current.noun}s, now ${valueText(values[node])}`
                    : `${valueText(values[node])}, ${share(values[node], widths[0])} of all`);
}
