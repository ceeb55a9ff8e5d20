/*
 * The functions of ncurses that heaptop and heapwatch call. ncurses is not linked, but opened by dlopen when a table
 * is shown on a terminal: so the tools start without it, and output to a pipe doesn't need it. The functions' types are
 * those of the header, so that the compiler checks each call. Those that the header defines as macros are also
 * functions of the library.
 *
 * All policy is in Swift; nothing here keeps state.
 */
#ifndef HEAPSUM_TERMINAL_H
#define HEAPSUM_TERMINAL_H

#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <dlfcn.h>
#include <langinfo.h>
#include <locale.h>
#include <ncursesw/curses.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define TERMINAL_FUNCTIONS(use) \
    use(initscr) use(endwin) use(cbreak) use(noecho) use(keypad) use(wtimeout) use(wgetch) use(wmove) use(waddnstr) \
        use(wattrset) use(werase) use(wrefresh) use(getmaxx) use(getmaxy) use(has_colors) use(start_color) \
            use(use_default_colors) use(init_pair) use(curs_set) use(mousemask) use(getmouse) use(mouseinterval) \
                use(set_escdelay) use(resizeterm)

struct terminal_functions {
#define TERMINAL_MEMBER(name) __typeof__(&name) name;
    TERMINAL_FUNCTIONS(TERMINAL_MEMBER)
#undef TERMINAL_MEMBER
};

/* Fills in the functions. Returns NULL, or dlerror's text. */
static inline const char *terminal_load(struct terminal_functions *out) {
    void *library = dlopen("libncursesw.so.6", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return dlerror();
#define TERMINAL_LOOK_UP(name) \
    if ((out->name = (__typeof__(&name))dlsym(library, #name)) == NULL) return dlerror();
    TERMINAL_FUNCTIONS(TERMINAL_LOOK_UP)
#undef TERMINAL_LOOK_UP
    return NULL;
}

/* Constants that Swift can't read from the header's macros. */
static const int terminal_bold = (int)A_BOLD, terminal_dim = (int)A_DIM, terminal_reverse = (int)A_REVERSE,
                 terminal_plain = (int)A_NORMAL;
static inline int terminal_colour(int pair) { return (int)(NCURSES_BITS((chtype)pair, 0) & A_COLOR); }
static const mmask_t terminal_wheel_up = BUTTON4_PRESSED, terminal_wheel_down = BUTTON5_PRESSED,
                     terminal_click = BUTTON1_PRESSED | BUTTON1_CLICKED;

/* Whether the environment's locale for characters (LC_CTYPE) uses UTF-8. */
static inline int terminal_is_utf8(void) {
    setlocale(LC_CTYPE, "");
    const char *set = nl_langinfo(CODESET);
    return set != NULL && (set[0] == 'U' || set[0] == 'u');
}

#endif
