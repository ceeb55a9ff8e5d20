// The colours of the flame graph: one hue per module for the eight largest; red and blue for growth; or one colour per
// verdict.

const hueOfModule = new Map();
{
    const held = new Map();
    const column = data.columns.bytes;
    for (let row = 0; row < data.rowCount; row++) {
        const module = data.functions.module[data.functions.ofFrame[data.nodeFrame[data.rowNode[row]]]];
        held.set(module, (held.get(module) ?? 0) + column[row] + 1);
    }
    const spread = new Map();
    for (let node = 1; node < data.nodeFrame.length; node++) {
        const module = data.functions.module[data.functions.ofFrame[data.nodeFrame[node]]];
        spread.set(module, (spread.get(module) ?? 0) + 1);
    }
    const modules = [...spread.keys()]
                        .filter(module => module > 0)
                        .sort((a, b) => (held.get(b) ?? 0) - (held.get(a) ?? 0) || spread.get(b) - spread.get(a));
    modules.slice(0, 8).forEach((module, index) => hueOfModule.set(module, index + 1));
}
const isColouredByVerdict = () => state.values.colour === 'verdict' && current.ofVerdicts !== null;
let tints = new Map();
look.follow(() => {
    tints = new Map();
});
function tintOf(node) {
    const {tree, changes, widths, isGrowth} = current;
    if (isColouredByVerdict() && widths[node] > 0) {
        const all = current.ofVerdicts.reduce((sum, [, sums]) => sum + sums[node], 0);
        return current.ofVerdicts.map(([kind, sums]) => [all > 0 ? sums[node] / all : 0, tintOfVerdict(kind)]);
    }
    if (node === 0) return look.colour('box-root');
    if (isGrowth) {
        const lean = widths[node] > 0 ? changes[node] / widths[node] : 0;
        const strength = Math.min(100, Math.round(Math.abs(lean) * 100));
        const key = (lean < 0 ? 'box-shrunk' : 'box-grown') + strength;
        if (!tints.has(key))
            tints.set(key, mix(look.colour(lean < 0 ? 'box-shrunk' : 'box-grown'), look.colour('box-even'), strength));
        return tints.get(key);
    }
    const number = tree.function [node], hue = hueOfModule.get(data.functions.module[number]) ?? 0;
    const shade = (number * 2654435761 >>> 0) % 3;
    const key = hue * 3 + shade;
    if (!tints.has(key))
        tints.set(key,
            mix(hue ? look.colour('module-' + hue) : look.colour('box-other'), look.colour('surface'),
                [100, 90, 80][shade]));
    return tints.get(key);
}
function tintOfVerdict(kind) {
    const key = 'verdict-' + kind;
    if (!tints.has(key)) tints.set(key, look.colour(key));
    return tints.get(key);
}
/** Mixes `percent` of one colour into another, and returns a colour that the canvas accepts. */
function mix(colour, other, percent) {
    const probe = make('span', {hidden: true});
    probe.style.color = `color-mix(in oklab, ${colour} ${percent}%, ${other})`;
    document.body.append(probe);
    const mixed = getComputedStyle(probe).color;
    probe.remove();
    return mixed;
}
