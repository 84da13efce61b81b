// Connects, sends a batch, waits for the answer: see node_giver.hpp. Regime: pg.
#include "src/pg/compat.hpp"
#include "bgworker/node_giver.hpp"
#include "src/core/clock.hpp"

namespace steadytext::worker {

namespace {

constexpr std::int64_t kGatherUs = 20'000;    // records that arrive together are brought together
constexpr std::int64_t kCrowdedUs = 200'000;  // after the hub had no room
constexpr std::int64_t kIdleUs = 2'000'000;   // the connection is kept so long for the next record
constexpr std::int64_t kPatienceUs = 10'000'000;
constexpr std::int64_t kConnectUs = 20'000'000;
constexpr std::int64_t kPauseUs = 1'000'000;  // after a failure

}  // namespace

void NodeGiver::begin(shmem::DatabaseRow *row, shmem::HubLink *link, const char *database) {
    row_ = row;
    link_ = link;
    database_ = database;
    batch_.begin(row, link);
}

void NodeGiver::close() {
    if (hub_ != nullptr)
        hub_->close();
}

void NodeGiver::lose() {
    row_->hub_sqlstate.store(static_cast<std::uint32_t>(hub_->sqlstate()));
    not_before_us_ = core::monotonic_us() + kPauseUs;
}

void NodeGiver::answered() {
    HubTaken answer;
    if (!HubRecords::read_answer(*hub_, answer)) {
        hub_->give_up(ERRCODE_PROTOCOL_VIOLATION, "the hub's answer has another form");
        return lose();
    }
    const bool is_crowded = answer.taken < batch_.records().count();
    batch_.settle(answer);
    was_sent_ = false;
    not_before_us_ = core::monotonic_us() + (is_crowded ? kCrowdedUs : 0);
}

void NodeGiver::move() {
    using Event = HubConnection::Event;
    if (hub_ == nullptr)
        return;
    switch (hub_->move()) {
    case Event::Answered:
        answered();
        break;
    case Event::Refused:
    case Event::Lost:
        lose();
        break;
    case Event::Connected:
        break;
    case Event::None:
        if (hub_->is_waiting() && core::monotonic_us() >= deadline_us_) {
            hub_->give_up(ERRCODE_CONNECTION_FAILURE, "it is silent");
            lose();
        }
        break;
    }
}

std::int64_t NodeGiver::work(const char *conninfo, std::int64_t now_us) {
    using State = HubConnection::State;
    if (hub_ == nullptr)
        return INT64_MAX;
    if (hub_->is_waiting())
        return deadline_us_;
    const State before = hub_->state();
    if (now_us < not_before_us_)
        return not_before_us_;
    if (batch_.is_empty()) {
        if (link_->pending.load() == 0) {
            if (before == State::Closed)
                return INT64_MAX;
            if (now_us < busy_us_ + kIdleUs)
                return busy_us_ + kIdleUs;
            hub_->close();
            return INT64_MAX;
        }
        not_before_us_ = now_us + kGatherUs;
        if (!batch_.fill())
            return not_before_us_;
    }
    busy_us_ = now_us;
    if (before == State::Closed) {
        deadline_us_ = now_us + kConnectUs;
        hub_->begin(conninfo, database_, HubRecords::kAnswerMemory);
        return deadline_us_;
    }
    if (was_sent_)
        shmem::segment().counters->add(0, shmem::Counter::HubRetries);
    was_sent_ = true;
    deadline_us_ = now_us + kPatienceUs;
    batch_.records().send(*hub_);
    return deadline_us_;
}

}  // namespace steadytext::worker
