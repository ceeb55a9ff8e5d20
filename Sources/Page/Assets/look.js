// What all pages share: the theme and its switch, the tooltip, and the announcements for screen readers. Colours are
// defined in the style sheet; code that draws by hand gets them here.

const look = {
    listeners: [],
    /** The value of a custom property of the style sheet. */
    colour: name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim(),
    get isDark() { return document.documentElement.dataset.theme === 'dark'; },
    /** Calls `listener` now and whenever colours change. */
    follow(listener) { this.listeners.push(listener); },
};

{
    const preferred = matchMedia('(prefers-color-scheme: dark)');
    // If storage is forbidden (as for a file opened from a disk), the choice lasts as long as the page.
    const stored = {
        get value() {
            try {
                return localStorage.getItem('heapsum-theme');
            } catch { return null; }
        },
        set value(theme) {
            try {
                theme ? localStorage.setItem('heapsum-theme', theme) : localStorage.removeItem('heapsum-theme');
            } catch { /* kept for this page only */
            }
        }
    };
    let choice = stored.value;
    const apply = () => {
        document.documentElement.dataset.theme = choice ?? (preferred.matches ? 'dark' : 'light');
        for (const listener of look.listeners) listener();
    };
    apply();
    preferred.addEventListener('change', apply);
    look.switch = () => {
        const button = make('button', {
            type: 'button',
            class: 'theme',
            id: 'theme',
            onclick: () => {
                choice = look.isDark ? 'light' : 'dark';
                stored.value = choice === (preferred.matches ? 'dark' : 'light') ? null : choice;
                apply();
            }
        });
        const name = () => {
            button.textContent = look.isDark ? '☀ Light' : '☾ Dark';
            button.setAttribute('aria-label', look.isDark ? 'Switch to light colours' : 'Switch to dark colours');
        };
        name();
        look.follow(name);
        return button;
    };
}

/**
 * A pen for a canvas of this size in CSS pixels, cleared; sharp on a dense screen. Browsers draw no canvas with a side
 *  of more than about 32,000 pixels.
 */
const penOn = (canvas, width, height) => {
    const ratio = Math.min(devicePixelRatio || 1, 32000 / Math.max(width, height));
    const pixels = {width: Math.round(width * ratio), height: Math.round(height * ratio)};
    // A new size takes new memory.
    if (canvas.width !== pixels.width || canvas.height !== pixels.height) {
        Object.assign(canvas, pixels);
        canvas.style.height = height + 'px';
    }
    const pen = canvas.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    return pen;
};

/** The page's one tooltip, beside the pointer, never under it. */
const tooltip = {
    element: make('div', {class: 'tooltip', 'aria-hidden': 'true', hidden: true}),
    show(x, y, ...children) {
        if (!this.element.isConnected) document.body.append(this.element);
        this.element.replaceChildren(...children);
        this.element.hidden = false;
        const {offsetWidth: width, offsetHeight: height} = this.element;
        const left = x + 14 + width > innerWidth - 8 ? Math.max(8, x - 14 - width) : x + 14;
        const top = y + 18 + height > innerHeight - 8 ? Math.max(8, y - 12 - height) : y + 18;
        this.element.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
    },
    hide() { this.element.hidden = true; },
    /** Names and values, one line for each pair. */
    lines: pairs => make('dl', {}, ...pairs.filter(pair => pair).map(([name, value,
        key]) => make('div', {}, make('dt', {}, key ? make('span', {class: 'key ' + key}) : null, name), make('dd', {
        text: value
    })))),
};
addEventListener('scroll', () => tooltip.hide(), {passive: true, capture: true});

/** Announces changes to screen readers. */
const announcer = make('div', {class: 'unseen', role: 'status', 'aria-live': 'polite', id: 'announcer'});
const announce = text => {
    if (announcer.textContent !== text) announcer.textContent = text;
};
