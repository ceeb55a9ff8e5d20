// The tenant whose requests leak.
//
// A server with four threads makes reports for three tenants, all by the same code. A report that its reader no longer
// waits for is not delivered, and then nobody deletes it. The clients of one tenant are impatient.
//
// The stack says where the lost reports are made. It can't say for whom: the stacks of all three tenants are the same.
// The server says that itself, by a tag for each request: heapsum_tag_scope. So `heapsum --by tag` names the tenant.
//
// The cure is to own the report (std::unique_ptr), whoever returns first.
//
// usage: three-tenants [seconds]
#include <heapsum.h>

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

struct Tenant {
    const char *name;
    bool waits; // for the report
    char *settings;
};

static Tenant tenants[] = {
    {"tenant red", true, nullptr}, {"tenant green", false, nullptr}, {"tenant blue", true, nullptr}};

struct Report {
    char lines[20][64];
};

static double seconds, begun;

static double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return double(time.tv_sec) + double(time.tv_nsec) / 1e9;
}

[[gnu::noinline]] static Report *make_report(unsigned number) {
    auto *report = new Report;
    for (unsigned line = 0; line < 20; line++)
        snprintf(report->lines[line], sizeof report->lines[line], "report %u, line %u: as usual", number, line);
    return report;
}

[[gnu::noinline]] static unsigned answer(const Tenant &tenant, unsigned number) {
    Report *report = make_report(number);
    if (!tenant.waits && number % 10 == 0) return 0; // too late: the client has gone
    delete report;
    return 1;
}

[[gnu::noinline]] static void load_settings(Tenant &tenant) {
    heapsum_tag_scope scope(tenant.name);
    tenant.settings = new char[10000]();
}

[[gnu::noinline]] static void serve(unsigned number, unsigned &delivered) {
    const Tenant &tenant = tenants[number / 4 % 3];
    heapsum_tag_scope scope(tenant.name);
    delivered += answer(tenant, number);
}

static void *work(void *delivered) {
    static unsigned next;
    const unsigned worker = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
    for (unsigned number = worker; number < 400 || now() < begun + seconds; number += 4) {
        serve(number, *static_cast<unsigned *>(delivered));
        usleep(200);
    }
    return nullptr;
}

int main(int count, char **words) {
    seconds = count > 1 ? atof(words[1]) : 5;
    begun = now();
    for (Tenant &tenant : tenants) load_settings(tenant);
    pthread_t workers[4];
    unsigned delivered[4] = {}, sum = 0;
    for (int i = 0; i < 4; i++) pthread_create(&workers[i], nullptr, work, &delivered[i]);
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i], nullptr);
        sum += delivered[i];
    }
    printf("delivered %u reports\n", sum);
}
