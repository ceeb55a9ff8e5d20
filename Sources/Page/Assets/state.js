// The state of a page, in its URL's fragment: who opens the link sees what its sender saw. A value that is the default
// is left out; what a fragment holds beyond what is known, or out of range, is passed over, since anyone may write one.

class State {
    /** `defaults` are all the keys there are; a key's value keeps its type. */
    constructor(defaults) {
        this.defaults = defaults;
        this.values = {...defaults};
        this.listeners = [];
        this.read();
        addEventListener('hashchange', () => {
            const before = this.values;
            this.read();
            this.tell(before);
        });
    }

    read() {
        const given = new URLSearchParams(location.hash.slice(1));
        this.values = {...this.defaults};
        for (const [key, standard] of Object.entries(this.defaults)) {
            if (!given.has(key)) continue;
            const text = given.get(key);
            if (typeof standard === 'number') {
                if (/^-?\d{1,9}$/.test(text)) this.values[key] = Number(text);
            } else this.values[key] = text.slice(0, 1000);
        }
    }

    /** The fragment that says this state. */
    get fragment() {
        const given = new URLSearchParams();
        for (const [key, value] of Object.entries(this.values))
            if (value !== this.defaults[key]) given.set(key, String(value));
        return given.toString();
    }

    /** Changes values, and what shows them. `isStep` makes it a step that the browser's Back undoes. */
    set(changes, isStep = false) {
        const before = this.values;
        this.values = {...before, ...changes};
        if (Object.keys(changes).every(key => before[key] === this.values[key])) return;
        const url = location.href.split('#')[0] + (this.fragment ? '#' + this.fragment : '');
        try {
            isStep ? history.pushState(null, '', url) : history.replaceState(null, '', url);
        } catch { /* a browser that limits how often: the next change writes it */
        }
        this.tell(before);
    }

    tell(before) {
        const changed = new Set(Object.keys(this.values).filter(key => before[key] !== this.values[key]));
        if (changed.size > 0)
            for (const listener of this.listeners) listener(changed);
    }

    follow(listener) { this.listeners.push(listener); }
}
