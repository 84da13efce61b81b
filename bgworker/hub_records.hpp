// Records for the hub as one statement brings them: an array of bytea in the form of the wire.
//
// Owned by a batch (hub_batch.hpp, node_batch.hpp), which knows where its records came from. Regime: pg, without a destructor.
#pragma once

#include "bgworker/hub_connection.hpp"

extern "C" {
#include "lib/stringinfo.h"
}

#include <cstddef>

namespace steadytext::worker {

// Of all records: the hub has dealt with the first `taken`, and refused some of them.
struct HubTaken {
    std::uint32_t taken = 0, refused = 0;
};

class HubRecords {
public:
    static constexpr int kBatchBytes = 2 * 1024 * 1024;     // no more is added beyond this
    static constexpr std::uint32_t kLooksAtOnce = 100'000;  // at records that turn out to be stale
    static constexpr std::int64_t kAnswerMemory =
        8'388'608;  // for HubConnection::begin(): an answer has some hundred bytes

    void begin();  // once, before anything else
    // Begins an empty batch of records that are not older than this clear of the hub.
    void clear(std::int64_t clears);
    void add(char kind, const char *bytes, std::size_t size);
    // The batch is whole. It gets a number, under which the hub takes it but once.
    void finish();
    void settled() { count_ = 0; }

    [[nodiscard]] std::uint32_t count() const { return count_; }
    [[nodiscard]] bool is_full() const { return array_.len >= kBatchBytes; }
    [[nodiscard]] std::int64_t clears() const { return clears_; }
    void send(HubConnection &hub) const;
    // False: the hub's answer has another form.
    [[nodiscard]] static bool read_answer(const HubConnection &hub, HubTaken &answer);

private:
    StringInfoData array_{};
    std::uint32_t count_ = 0;
    std::int64_t number_ = 0, clears_ = 0;
};

}  // namespace steadytext::worker
