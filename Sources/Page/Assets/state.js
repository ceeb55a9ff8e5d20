// The state of a page, in its URL's fragment: the reader of a link sees what its sender saw. Default values are left
// out. Unknown keys and values out of range are ignored, because anyone may write a fragment.

class State {
    /** `defaults` has all keys; a key's value keeps its default's type. */
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

    /** The fragment for this state. */
    get fragment() {
        const given = new URLSearchParams();
        for (const [key, value] of Object.entries(this.values))
            if (value !== this.defaults[key]) given.set(key, String(value));
        return given.toString();
    }

    /** Changes values, and updates what shows them. With `isStep` the browser's Back undoes the change. */
    set(changes, isStep = false) {
        const before = this.values;
        this.values = {...before, ...changes};
        if (Object.keys(changes).every(key => before[key] === this.values[key])) return;
        const url = location.href.split('#')[0] + (this.fragment ? '#' + this.fragment : '');
        try {
            isStep ? history.pushState(null, '', url) : history.replaceState(null, '', url);
        } catch { /* the browser limits how often this may be called: the next change writes it */
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
