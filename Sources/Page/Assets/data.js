// The page's data, which is in the page beside the script. Columns become typed arrays once; functions here describe
// rows and frames. This file knows nothing about display.

class HeapData {
    constructor(raw) {
        this.raw = raw;
        this.strings = raw.strings;
        this.isDiff = raw.kind === 'diff';
        this.nodeParent = Int32Array.from(raw.nodes.parent);
        this.nodeFrame = Int32Array.from(raw.nodes.frame);
        this.rowNode = Int32Array.from(raw.rows.node);
        this.rowCount = this.rowNode.length;
        this.columns = {};
        for (const [key, values] of Object.entries(raw.rows))
            if (key !== 'node') this.columns[key] = Float64Array.from(values, value => value ?? NaN);
        this.moments = raw.moments ?? [];
        this.frames = raw.frames;
        this.functions = new FunctionTable(raw);
        this.levels = new Map();
        this.sums = new Map();
    }

    /** What rows held at moment `number`: { bytes, blocks }. */
    at(number) {
        if (this.levels.has(number)) return this.levels.get(number);
        const before = number > 0 ? this.at(number - 1)
                                  : {bytes: new Float64Array(this.rowCount), blocks: new Float64Array(this.rowCount)};
        const level = {bytes: before.bytes.slice(), blocks: before.blocks.slice()};
        const change = this.raw.changes[number];
        change.row.forEach((row, index) => {
            level.bytes[row] = change.bytes[index];
            level.blocks[row] = change.blocks[index];
        });
        this.levels.set(number, level);
        return level;
    }

    sum(column) {
        if (!this.sums.has(column)) this.sums.set(column, column.reduce((sum, value) => sum + value, 0));
        return this.sums.get(column);
    }

    /** The frames of a row, innermost first. */
    framesOf(row) {
        const frames = [];
        for (let node = this.rowNode[row]; node > 0; node = this.nodeParent[node]) frames.push(this.nodeFrame[node]);
        return frames;
    }

    frameName(frame) { return this.strings[this.frames.name[frame]]; }
    framePlace(frame) { return this.strings[this.frames.place[frame]]; }
    frameModule(frame) { return this.strings[this.raw.modules[this.frames.module[frame]]]; }
    /** The function's name, with the offset in it if no line is known. */
    frameText(frame) {
        const offset = this.frames.symbolOffset[frame];
        return this.frameName(frame) + (offset >= 0 ? '+0x' + offset.toString(16) : '');
    }
}

const baseName = path => path.slice(path.lastIndexOf('/') + 1);

/** The functions of graphs: all frames in one function of one module are the same entry. */
class FunctionTable {
    constructor(raw) {
        const {name, module, place} = raw.frames;
        this.ofFrame = new Int32Array(name.length);
        this.name = [];
        this.module = [];
        this.frame = [];
        const numbers = new Map();
        for (let frame = 0; frame < name.length; frame++) {
            const key = name[frame] * 65536 + module[frame];
            let number = numbers.get(key);
            if (number === undefined) {
                number = this.name.length;
                numbers.set(key, number);
                this.name.push(raw.strings[name[frame]]);
                this.module.push(module[frame]);
                this.frame.push(frame);
            }
            this.ofFrame[frame] = number;
        }
        this.count = this.name.length;
        this.modulePaths = raw.modules.map(index => raw.strings[index]);
    }

    modulePath(number) { return this.modulePaths[this.module[number]]; }
    moduleName(number) { return baseName(this.modulePath(number)); }
}

/** A test for the text of the search field: words, or /an expression/; null for an empty field. */
function matcher(text) {
    const trimmed = text.trim();
    if (!trimmed) return {test: null};
    if (trimmed.length > 2 && trimmed.startsWith('/') && trimmed.endsWith('/')) {
        try {
            const expression = new RegExp(trimmed.slice(1, -1), 'i');
            return {test: value => expression.test(value)};
        } catch (error) {
            return {
                test: () => false,
                problem: 'Not a regular expression: ' + error.message.replace(/^Invalid regular expression: /, '')
            };
        }
    }
    const word = trimmed.toLowerCase();
    return {test: value => value.toLowerCase().includes(word)};
}
