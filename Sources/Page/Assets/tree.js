// Call trees: the rows' stacks merged by function, from the thread's start inward or from the allocating call outward.
// Parents have lower numbers than their children, so sums and marks need one pass over arrays at any depth, and a tree
// of a million nodes is made in a fraction of a second.

/** A tree in arrays. A subclass appends nodes, each parent before its children, and then finishes. */
class Tree {
    constructor() {
        this.parent = [0];
        this.depth = [0];
    }

    append(parent) {
        this.parent.push(parent);
        this.depth.push(this.depth[parent] + 1);
        return this.parent.length - 1;
    }

    finish() {
        this.count = this.parent.length;
        this.parent = Int32Array.from(this.parent);
        this.depth = Int32Array.from(this.depth);
        this.linkChildren();
    }

    /** Children of a node are `order[first[node]]` up to before `order[first[node + 1]]`. */
    linkChildren() {
        this.first = new Int32Array(this.count + 1);
        for (let node = 1; node < this.count; node++) this.first[this.parent[node] + 1]++;
        for (let node = 0; node < this.count; node++) this.first[node + 1] += this.first[node];
        const next = this.first.slice();
        this.order = new Int32Array(this.count);
        for (let node = 1; node < this.count; node++) this.order[next[this.parent[node]]++] = node;
    }

    /** The node's children that hold anything of `sums`, the largest first. */
    children(node, sums) {
        const children = [];
        for (let place = this.first[node]; place < this.first[node + 1]; place++)
            if (sums[this.order[place]] > 0) children.push(this.order[place]);
        return children.sort((a, b) => sums[b] - sums[a] || a - b);
    }

    /** The nodes from the outermost to the node itself, without the root. */
    path(node) {
        const path = [];
        for (; node > 0; node = this.parent[node]) path.push(node);
        return path.reverse();
    }
}

class CallTree extends Tree {
    /** `direction` is 'down', from the start, or 'up', from the allocation. */
    constructor(data, direction) {
        super();
        this.data = data;
        this.function = [-1];
        /** The node in which a row's stack ends. */
        this.rowNode = new Int32Array(data.rowCount);
        this.table = new Int32Array(1 << 12);
        direction === 'down' ? this.addFromStart() : this.addFromAllocation();
        this.finish();
        this.function = Int32Array.from(this.function);
        this.table = null;
    }

    // Each node of the data's own tree gets a node here, found through its parent's.
    addFromStart() {
        const {nodeParent, nodeFrame, rowNode, functions} = this.data;
        const own = new Int32Array(nodeParent.length);
        for (let node = 1; node < nodeParent.length; node++)
            own[node] = this.intern(own[nodeParent[node]], functions.ofFrame[nodeFrame[node]]);
        for (let row = 0; row < rowNode.length; row++) this.rowNode[row] = own[rowNode[row]];
    }

    addFromAllocation() {
        const {nodeParent, nodeFrame, rowNode, functions} = this.data;
        for (let row = 0; row < rowNode.length; row++) {
            let place = 0;
            for (let node = rowNode[row]; node > 0; node = nodeParent[node])
                place = this.intern(place, functions.ofFrame[nodeFrame[node]]);
            this.rowNode[row] = place;
        }
    }

    intern(parent, number) {
        let mask = this.table.length - 1;
        let place = (Math.imul(parent, 0x9E3779B1) ^ Math.imul(number + 1, 0x85EBCA6B)) >>> 7 & mask;
        for (let node; (node = this.table[place]) !== 0; place = place + 1 & mask) {
            if (this.parent[node] === parent && this.function [node] === number) return node;
        }
        const made = this.append(parent);
        this.function.push(number);
        this.table[place] = made;
        if (made * 2 > this.table.length) this.grow();
        return made;
    }

    grow() {
        this.table = new Int32Array(this.table.length * 2);
        const mask = this.table.length - 1;
        for (let node = 1; node < this.parent.length; node++) {
            let place =
                (Math.imul(this.parent[node], 0x9E3779B1) ^ Math.imul(this.function [node] + 1, 0x85EBCA6B)) >>> 7
                & mask;
            while (this.table[place] !== 0) place = place + 1 & mask;
            this.table[place] = node;
        }
    }

    /** For each node, the sum of its rows' values; rows with `isIn` 0 don't count. */
    sums(values, isIn = null) {
        const sums = new Float64Array(this.count);
        for (let row = 0; row < values.length; row++)
            if (!isIn || isIn[row]) sums[this.rowNode[row]] += values[row];
        for (let node = this.count - 1; node > 0; node--) sums[this.parent[node]] += sums[node];
        return sums;
    }

    name(node) { return node === 0 ? 'all' : this.data.functions.name[this.function [node]]; }
    moduleName(node) { return node === 0 ? '' : this.data.functions.moduleName(this.function [node]); }

    /** The rows whose stacks go through the node. */
    rowsThrough(node) {
        const inside = new Uint8Array(this.count);
        for (let each = 0; each < this.count; each++)
            inside[each] = each === node || (each > 0 && inside[this.parent[each]]) ? 1 : 0;
        return this.rowNode.map(each => inside[each]);
    }
}
