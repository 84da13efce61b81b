// The policies our cache is measured against, as simulations that hold no values: LRU, S3-FIFO, W-TinyLFU.
//
// Used by simulate.cpp. Each is given a capacity in bytes and charges each object the bytes it is told.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

namespace steadytext::bench {

class Policy {
public:
    virtual ~Policy() = default;
    // True for a hit; a miss brings the object in.
    virtual bool request(std::uint64_t object, std::size_t bytes) = 0;
};

// A queue of objects and their bytes; the front is the newest.
struct Queue {
    std::list<std::uint64_t> order;
    std::size_t bytes = 0;
};

class Lru : public Policy {
public:
    explicit Lru(std::size_t capacity) : capacity_(capacity) {}

    bool request(std::uint64_t object, std::size_t bytes) override {
        if (const auto found = entries_.find(object); found != entries_.end()) {
            order_.splice(order_.begin(), order_, found->second.first);
            return true;
        }
        if (bytes > capacity_)
            return false;
        while (used_ + bytes > capacity_) {
            const auto last = entries_.find(order_.back());
            used_ -= last->second.second;
            entries_.erase(last);
            order_.pop_back();
        }
        order_.push_front(object);
        entries_[object] = {order_.begin(), bytes};
        used_ += bytes;
        return false;
    }

private:
    std::size_t capacity_, used_ = 0;
    std::list<std::uint64_t> order_;
    std::unordered_map<std::uint64_t, std::pair<std::list<std::uint64_t>::iterator, std::size_t>> entries_;
};

// Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction" (SOSP 2023), a tenth
// small.
class S3Fifo : public Policy {
public:
    explicit S3Fifo(std::size_t capacity) : small_capacity_(capacity / 10), main_capacity_(capacity - capacity / 10) {}

    bool request(std::uint64_t object, std::size_t bytes) override {
        if (const auto found = entries_.find(object); found != entries_.end()) {
            found->second.frequency = std::min(found->second.frequency + 1, 3);
            return true;
        }
        if (bytes > small_capacity_)
            return false;
        const auto ghost = ghosts_.find(object);
        if (ghost != ghosts_.end()) {
            ghost_.erase(ghost->second.first);
            ghost_bytes_ -= ghost->second.second;
            ghosts_.erase(ghost);
            make_main_room(bytes);
            push(main_, object, bytes);
        } else {
            while (small_.bytes + bytes > small_capacity_)
                retire_small();
            push(small_, object, bytes);
        }
        return false;
    }

private:
    struct Entry {
        std::size_t bytes;
        int frequency = 0;
    };
    void push(Queue &queue, std::uint64_t object, std::size_t bytes) {
        queue.order.push_front(object);
        queue.bytes += bytes;
        entries_[object] = {bytes};
    }
    void retire_small() {
        const std::uint64_t object = small_.order.back();
        const Entry entry = entries_[object];
        small_.order.pop_back();
        small_.bytes -= entry.bytes;
        entries_.erase(object);
        if (entry.frequency > 1) {
            make_main_room(entry.bytes);
            push(main_, object, entry.bytes);
            return;
        }
        ghost_.push_front(object);
        ghosts_[object] = {ghost_.begin(), entry.bytes};
        ghost_bytes_ += entry.bytes;
        while (ghost_bytes_ > main_capacity_) {
            ghost_bytes_ -= ghosts_[ghost_.back()].second;
            ghosts_.erase(ghost_.back());
            ghost_.pop_back();
        }
    }
    void make_main_room(std::size_t bytes) {
        while (main_.bytes + bytes > main_capacity_) {
            const std::uint64_t object = main_.order.back();
            Entry &entry = entries_[object];
            main_.order.pop_back();
            if (entry.frequency > 0) {
                entry.frequency--;
                main_.order.push_front(object);
            } else {
                main_.bytes -= entry.bytes;
                entries_.erase(object);
            }
        }
    }

    std::size_t small_capacity_, main_capacity_, ghost_bytes_ = 0;
    Queue small_, main_;
    std::list<std::uint64_t> ghost_;
    std::unordered_map<std::uint64_t, Entry> entries_;
    std::unordered_map<std::uint64_t, std::pair<std::list<std::uint64_t>::iterator, std::size_t>> ghosts_;
};

// Einziger, Friedman, Manes: "TinyLFU" (2017), as Caffeine does it: a window of 1 %, a main segmented LRU of
// which four fifths are protected, a 4-bit count-min sketch halved every ten times as many requests as there
// are entries.
class WTinyLfu : public Policy {
public:
    explicit WTinyLfu(std::size_t capacity, double window = 0.01)
        : capacity_(capacity), window_capacity_(static_cast<std::size_t>(static_cast<double>(capacity) * window)),
          protected_capacity_((capacity - window_capacity_) / 5 * 4), sketch_(1U << 20) {}

    bool request(std::uint64_t object, std::size_t bytes) override {
        increment(object);
        const auto found = entries_.find(object);
        if (found == entries_.end()) {
            if (bytes <= capacity_)
                add(object, bytes);
            return false;
        }
        touch(found->second);
        return true;
    }

private:
    enum Segment { Window, Probation, Protected };
    struct Entry {
        std::list<std::uint64_t>::iterator place;
        std::size_t bytes;
        Segment segment;
    };

    void move(Entry &entry, Segment to) {
        queues_[entry.segment].bytes -= entry.bytes;
        queues_[to].bytes += entry.bytes;
        queues_[to].order.splice(queues_[to].order.begin(), queues_[entry.segment].order, entry.place);
        entry.segment = to;
    }
    void touch(Entry &entry) {
        move(entry, entry.segment == Probation ? Protected : entry.segment);
        while (queues_[Protected].bytes > protected_capacity_) {
            const std::uint64_t last = queues_[Protected].order.back();
            move(entries_[last], Probation);
        }
    }
    void add(std::uint64_t object, std::size_t bytes) {
        queues_[Window].order.push_front(object);
        queues_[Window].bytes += bytes;
        entries_[object] = {queues_[Window].order.begin(), bytes, Window};
        while (queues_[Window].bytes > window_capacity_) {
            const std::uint64_t candidate = queues_[Window].order.back();
            move(entries_[candidate], Probation);
            admit(candidate);
        }
    }
    // Victims go one by one until there is room, or one is wanted as much as the candidate, which then goes
    // itself.
    void admit(std::uint64_t candidate) {
        while (queues_[Window].bytes + queues_[Probation].bytes + queues_[Protected].bytes > capacity_) {
            Segment segment = queues_[Probation].order.back() == candidate ? Protected : Probation;
            if (queues_[segment].order.empty())
                return drop(candidate);
            const std::uint64_t victim = queues_[segment].order.back();
            if (estimate(candidate) <= estimate(victim))
                return drop(candidate);
            drop(victim);
        }
    }
    void drop(std::uint64_t object) {
        const auto found = entries_.find(object);
        queues_[found->second.segment].bytes -= found->second.bytes;
        queues_[found->second.segment].order.erase(found->second.place);
        entries_.erase(found);
    }

    std::uint8_t &counter(std::uint64_t object, int row) {
        std::uint64_t z =
            (object + 1) * 0x9E37'79B9'7F4A'7C15U + static_cast<std::uint64_t>(row) * 0xBF58'476D'1CE4'E5B9U;
        z = (z ^ z >> 30) * 0x94D0'49BB'1331'11EBU;
        return sketch_[(z ^ z >> 31) % (sketch_.size() / 4) + static_cast<std::size_t>(row) * (sketch_.size() / 4)];
    }
    std::uint8_t estimate(std::uint64_t object) {
        return std::min({counter(object, 0), counter(object, 1), counter(object, 2), counter(object, 3)});
    }
    void increment(std::uint64_t object) {
        for (int row = 0; row < 4; row++)
            if (counter(object, row) < 15)
                counter(object, row)++;
        if (++additions_ > 10 * entries_.size() + 1000) {
            for (auto &each : sketch_)
                each /= 2;
            additions_ /= 2;
        }
    }

    std::size_t capacity_, window_capacity_, protected_capacity_, additions_ = 0;
    Queue queues_[3];
    std::unordered_map<std::uint64_t, Entry> entries_;
    std::vector<std::uint8_t> sketch_;
};

}  // namespace steadytext::bench
