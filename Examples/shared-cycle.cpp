// The two that hold each other.
//
// A connection has a handler, and the handler needs its connection to write to. Each holds the other by a
// std::shared_ptr. When a client goes, the server forgets the connection; its count of owners goes from two to one, and
// never to none. From then on nobody else knows of the two.
//
// Counts of owners can't see that; a search through the memory can: nothing outside of the two leads to either. One of
// them stands for both in the report, and drags the other along, with all that hangs from them.
//
// The cure is a std::weak_ptr on the way back.
//
// usage: shared-cycle [seconds]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>
#include <thread>
#include <vector>

struct Handler;

struct Connection {
    std::shared_ptr<Handler> handler;
    std::vector<char> received = std::vector<char>(4096);
};

struct Handler {
    std::shared_ptr<Connection> connection; // std::weak_ptr
};

static std::set<std::shared_ptr<Connection>> open_connections;

[[gnu::noinline]] static std::shared_ptr<Connection> accept_client() {
    auto connection = std::make_shared<Connection>();
    connection->handler = std::make_shared<Handler>();
    connection->handler->connection = connection;
    open_connections.insert(connection);
    return connection;
}

[[gnu::noinline]] static void client_has_gone(const std::shared_ptr<Connection> &connection) {
    open_connections.erase(connection);
}

[[gnu::noinline]] static unsigned serve(double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    unsigned clients = 0;
    do {
        client_has_gone(accept_client());
        clients++;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } while (std::chrono::steady_clock::now() < end);
    return clients;
}

int main(int count, char **words) {
    const unsigned clients = serve(count > 1 ? atof(words[1]) : 5);
    std::printf("%u clients came and went\n", clients);
    return 0;
}
