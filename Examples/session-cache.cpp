// The cache that nobody empties.
//
// A web service keeps its sessions in a map, by their token. A user who logs in gets a new token, and with it a new
// session; the old one of the same user stays, as nobody looks for it any more: log_out() gets the user's name and
// erases by it, where the map's keys are tokens. erase() of a key that isn't there is no error.
//
// No block is lost: the map holds them all, and its destructor will free them at the end. So a leak checker says
// nothing, and the program grows. What tells is the holder: one global variable that keeps nine tenths of the heap,
// and more each minute.
//
//     global sessions -> nodes of the map -> a session -> its shopping cart
//
// The cure is to erase by the token.
//
// usage: session-cache [seconds]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

struct Session {
    std::string user;
    std::vector<char> cart;
};

static std::unordered_map<std::string, std::unique_ptr<Session>> sessions;
static std::vector<std::string> settings;

[[gnu::noinline]] static void read_settings() {
    for (int i = 0; i < 200; i++)
        settings.push_back("setting " + std::to_string(i) + " has a value of some forty characters");
}

static std::string name_of(unsigned user) { return "user-" + std::to_string(user); }

[[gnu::noinline]] static void log_in(unsigned user) {
    static unsigned next = 0;
    const std::string token = "token-" + std::to_string(next++) + "-that-is-not-guessed-easily";
    auto session = std::make_unique<Session>();
    session->user = name_of(user);
    session->cart.resize(2000);
    sessions[token] = std::move(session);
}

[[gnu::noinline]] static void log_out(unsigned user) {
    sessions.erase(name_of(user)); // the map's keys are tokens
}

int main(int count, char **words) {
    const double seconds = count > 1 ? atof(words[1]) : 5;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    read_settings();
    unsigned visits = 0;
    do {
        const unsigned user = visits++ % 50;
        log_in(user);
        log_out(user);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } while (std::chrono::steady_clock::now() < end);
    std::printf("%u visits of 50 users\n", visits);
    return 0;
}
