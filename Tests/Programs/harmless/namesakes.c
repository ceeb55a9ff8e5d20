/*
 * A program with a library that means something else by names of libc's: each takes two doubles and an int, and says
 * what it was given. NAMES is a list of X(name).
 */
#ifdef LIBRARY
#define X(name) \
    double name(double a, int b, double c); \
    double name(double a, int b, double c) { return a * 100 + b + c; }
NAMES
#else
extern int printf(const char *, ...);
#define X(name) extern double name(double, int, double);
NAMES
#undef X
int main(void) {
    int number = 0;
#define X(name) \
    number++; \
    printf("%s %g\n", #name, name(number, number + 1, 0.5));
    NAMES
    return 0;
}
#endif
