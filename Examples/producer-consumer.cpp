// The producer that outran its consumer.
//
// One thread reads measurements as fast as they come, another writes them away, and a queue without a
// limit lies between. The memory grows and grows, the pager goes off, and a leak finder that looks at the
// program's end finds nothing at all: at the end the queue is drained and every block is freed.
//
// This is growth and not a leak, and only the moment tells them apart. A dump taken while it runs shows
// the live blocks under the producer; the finished image shows them at the peak (`heapsum --sort peak-bytes`):
//
//     operator new <- read_measurement <- produce <- (thread)
//
// The cure is no free anywhere: it is a limit to the queue, so that the producer waits.
//
// usage: producer-consumer [seconds]
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

struct Measurement {
    unsigned number;
    std::vector<double> values;
};

class Queue {
  public:
    void push(std::unique_ptr<Measurement> measurement) {
        std::lock_guard<std::mutex> guard(lock_);
        waiting_.push_back(std::move(measurement)); // and how many may wait?
        arrived_.notify_one();
    }

    std::unique_ptr<Measurement> pop() {
        std::unique_lock<std::mutex> guard(lock_);
        arrived_.wait(guard, [this] { return !waiting_.empty() || closed_; });
        if (waiting_.empty()) return nullptr;
        auto first = std::move(waiting_.front());
        waiting_.pop_front();
        return first;
    }

    void close() {
        std::lock_guard<std::mutex> guard(lock_);
        closed_ = true;
        arrived_.notify_all();
    }

  private:
    std::mutex lock_;
    std::condition_variable arrived_;
    std::deque<std::unique_ptr<Measurement>> waiting_;
    bool closed_ = false;
};

using Clock = std::chrono::steady_clock;

__attribute__((noinline)) static std::unique_ptr<Measurement> read_measurement(unsigned number) {
    auto measurement = std::make_unique<Measurement>();
    measurement->number = number;
    measurement->values.assign(128, number * 0.5);
    return measurement;
}

__attribute__((noinline)) static void produce(Queue &queue, Clock::time_point end, unsigned &produced) {
    while (Clock::now() < end) {
        for (int i = 0; i < 10; i++) queue.push(read_measurement(produced++));
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    queue.close();
}

__attribute__((noinline)) static void consume(Queue &queue, Clock::time_point end) {
    while (auto measurement = queue.pop()) {
        // Writing one away takes longer than reading ten; once the source is dry, the rest goes fast.
        if (Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

int main(int count, char **arguments) {
    double seconds = count > 1 ? std::atof(arguments[1]) : 2;
    auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    Queue queue;
    unsigned produced = 0;
    std::thread producer([&] { produce(queue, end, produced); });
    std::thread consumer([&] { consume(queue, end); });
    producer.join();
    consumer.join();
    std::printf("wrote %u measurements\n", produced);
}
