// How independent nodes and their hub agree on what is forgotten (bgworker/node_main.cpp, src/session/hub_link.cpp, src/functions/hub.cpp), as a
// model: each step that may come between two others is a step here, in any order, with delays, lost connections and restarts. Of 100,000 histories
// none has an answer from a cache that is older than it may be. Each rule of the protocol is then left out, and histories show why it is there.
//
// An answer is the number of the clear after which it was computed: before a clear a daemon's answer is one number less than after it.
#include "shmem/hub_links.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <random>
#include <vector>

namespace {

using steadytext::shmem::HubLinkState;

constexpr std::int64_t kBoundUs = 100'000, kWatchUs = 25'000;  // steadytext.hub_max_staleness, and a fourth of it
constexpr int kSteps = 400;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kHistories = 4'000;
#else
constexpr std::uint64_t kHistories = 100'000;
#endif

enum class Flaw {
    None,
    NoGate,             // the cache is read however long ago the hub was heard of
    CurrentAtReply,     // what a reply says is taken to be so when it comes, not when it was asked for
    NumberBeforeEpoch,  // the worker writes the number down before it raises the epoch
    KeptWithoutEpoch,   // an answer is kept although the cache was cleared since it was asked for
    TableNotStale,      // rows are given while they are being deleted
    AnyBatch,           // the hub takes records of a node that does not know of its last clear
    EpochBeforeNumber,  // a batch reads the epoch before the number
    AskedWithUntold,    // the hub is asked although it has not been told of a clear
    OldRowsBelieved     // after a restart the node believes the number that it hears, and keeps its rows
};

struct Kept {
    int answer;
    std::uint64_t epoch;
};

struct Hub {
    std::int64_t clears = 0;
    std::uint64_t epoch = 0;
    std::optional<int> row;
    std::vector<Kept> records;  // for the keeper
    int clearing = 0;           // steps of a clear that is under way
    int seen = 0;               // the world as the node's clear knew it
    bool is_told = false;       // the clear under way is a node's
};

struct Call {  // of a session
    enum class Stage { Idle, Hot, Table, Ask, Asked, Compute, Keep } stage = Stage::Idle;
    std::int64_t began_us = 0;
    std::uint64_t epoch = 0;
    int least = 0;  // what the node's own clears allow
    std::optional<int> answer;
    bool was_current = false, is_from_hub = false;
};

struct Message {
    enum class Kind { None, Watch, Clear, Question } kind = Kind::None;
    bool is_back = false;
    std::int64_t asked_us = 0, clears = 0;
    std::uint64_t cleared = 0;
    std::optional<int> row;
    int seen = 0;
};

struct Node {
    HubLinkState link;
    std::uint64_t epoch = 1;
    std::optional<Kept> hot;
    std::optional<int> row;
    std::int64_t known = -1;  // of the hub's clears, in the table
    std::vector<Kept> records, for_hub;
    Call calls[2];
    Message message;  // the worker's connection
    int obeying = 0;  // steps of a clear of the hub that is being obeyed
    Call *asking = nullptr;
    int clearing = 0;  // steps of a clear of its own
    int own = 0;       // the world since its own last clear
    struct {           // the giver
        int step = 0;
        std::int64_t clears = 0;
        std::uint64_t epoch = 0;
        std::optional<int> answer;
    } batch;
};

class History {
public:
    History(std::uint64_t seed, Flaw flaw) : random_(seed), flaw_(flaw) {}

    // False: an answer was older than it may be.
    bool is_good() {
        for (int step = 0; step < kSteps && good_; step++) {
            now_us_ += static_cast<std::int64_t>(below(below(8) == 0 ? 20'000 : 1'000));
            Node &node = nodes_[below(2)];
            const std::uint64_t what = below(100);
            if (what < 8)
                move_hub();
            else if (what < 12)
                clear_own(node);
            else if (what < 28)
                give(node);
            else if (what < 36)
                keep(node);
            else if (what < 37)
                below(4) == 0 ? restart(node) : lose_connection(node);
            else if (what < 60)
                work(node);
            else
                move_call(node, node.calls[below(2)]);
        }
        return good_;
    }

private:
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    bool has(Flaw flaw) const { return flaw_ == flaw; }

    // ---- the hub ----

    void move_hub() {
        if (hub_.clearing == 0 && below(8) == 0) {
            hub_.clearing = 1;
            hub_.is_told = false;
        } else if (hub_.clearing == 1) {
            hub_.epoch++;
            hub_.clearing = 2;
        } else if (hub_.clearing == 2) {  // the commit
            hub_.row.reset();
            hub_.clears++;
            if (!hub_.is_told)
                hub_.seen = ++world_;
            hub_.clearing = 3;
        } else if (hub_.clearing == 3) {
            hub_.epoch++;
            cleared_.push_back({now_us_, hub_.seen});
            hub_.clearing = 0;
        } else if (!hub_.records.empty()) {  // the keeper; it waits for a clear that is under way
            const Kept record = hub_.records.front();
            hub_.records.erase(hub_.records.begin());
            if (record.epoch == hub_.epoch)
                hub_.row = record.answer;
        }
    }

    // ---- a session ----

    // A call that began so long after a clear gets nothing older; and nothing older than the node's own clears.
    void judge(const Call &call, int answer) {
        good_ &= answer >= call.least;
        for (const Cleared &clear : cleared_)
            good_ &= call.began_us <= clear.at_us + kBoundUs || answer >= clear.least;
    }

    bool is_fresh(const Node &node) const { return has(Flaw::NoGate) || node.link.is_current(now_us_, kBoundUs); }

    void move_call(Node &node, Call &call) {
        using Stage = Call::Stage;
        switch (call.stage) {
        case Stage::Idle:
            call = {Stage::Hot, now_us_, node.epoch, node.own, {}, is_fresh(node), false};
            break;
        case Stage::Hot:
            call.stage = Stage::Table;
            if (call.was_current && node.hot.has_value() && node.hot->epoch == node.epoch) {
                judge(call, node.hot->answer);
                call.stage = Stage::Idle;
            }
            break;
        case Stage::Table:
            call.stage = Stage::Ask;
            if (is_fresh(node) && (has(Flaw::TableNotStale) || !node.link.table_is_stale.load()) &&
                node.row.has_value()) {
                judge(call, *node.row);
                if (call.epoch == node.epoch)
                    node.hot = Kept{*node.row, call.epoch};
                call.stage = Stage::Idle;
            }
            break;
        case Stage::Ask:
            call.stage = Stage::Compute;
            if (node.asking == nullptr && node.link.is_current(now_us_, kBoundUs) &&
                (has(Flaw::AskedWithUntold) || !node.link.has_untold_clears())) {
                node.asking = &call;
                call.stage = Stage::Asked;
            }
            break;
        case Stage::Asked:  // until the worker has an answer, or the session patience no longer
            if (below(4) == 0 && node.message.kind != Message::Kind::Question) {
                node.asking = nullptr;
                call.stage = Stage::Compute;
            }
            break;
        case Stage::Compute:
            call.answer = world_;
            call.stage = Stage::Keep;
            break;
        case Stage::Keep:
            if (call.is_from_hub)
                judge(call, *call.answer);
            if (call.epoch == node.epoch || has(Flaw::KeptWithoutEpoch)) {
                const std::uint64_t epoch = has(Flaw::KeptWithoutEpoch) ? node.epoch : call.epoch;
                node.hot = Kept{*call.answer, epoch};
                node.records.push_back({*call.answer, epoch});
                if (!call.is_from_hub)
                    node.for_hub.push_back({*call.answer, epoch});
            }
            call.stage = Stage::Idle;
            break;
        }
    }

    // The keeper of the node.
    static void keep(Node &node) {
        if (node.records.empty() || node.clearing != 0)
            return;
        if (node.records.front().epoch == node.epoch)
            node.row = node.records.front().answer;
        node.records.erase(node.records.begin());
    }

    // A clear by a session of the node.
    void clear_own(Node &node) {
        if (node.clearing == 0 && (node.obeying != 0 || below(10) != 0))  // the worker has the lock
            return;
        switch (node.clearing++) {
        case 0:
            node.link.clearing.fetch_add(1);
            node.epoch++;
            break;
        case 1:
            node.row.reset();
            world_++;
            break;
        case 2:
            node.epoch++;
            node.link.cleared.fetch_add(1);
            node.link.clearing.fetch_sub(1);
            node.own = world_;
            node.clearing = 0;
            break;
        }
    }

    // ---- the node worker ----

    void work(Node &node) {
        if (node.obeying != 0)
            return obey(node);
        if (node.message.kind == Message::Kind::None)
            return ask(node);
        if (!node.message.is_back)
            return answer(node);
        take_reply(node);
    }

    void ask(Node &node) {
        using Kind = Message::Kind;
        Message message;
        message.asked_us = now_us_;
        if (now_us_ >= node.link.current_as_of_us.load() + kWatchUs || below(4) == 0) {
            message.kind = Kind::Watch;
        } else if (has(Flaw::AskedWithUntold) && node.asking != nullptr) {
            message.kind = Kind::Question;
        } else if (node.link.cleared.load() != node.link.told.load()) {
            message.kind = Kind::Clear;
            message.cleared = node.link.cleared.load();
            message.seen = node.own;
        } else if (node.asking != nullptr) {
            message.kind = Kind::Question;
        } else {
            return;
        }
        node.message = message;
    }

    // What the hub does of it.
    void answer(Node &node) {
        Message &message = node.message;
        if (message.kind == Message::Kind::Clear) {
            if (hub_.clearing != 0)
                return;  // it waits for the keeper
            hub_.epoch++;
            hub_.row.reset();
            hub_.clears++;
            hub_.epoch++;
            cleared_.push_back({now_us_, message.seen});
        }
        message.clears = hub_.clears;
        message.row = hub_.row;
        message.is_back = true;
    }

    void take_reply(Node &node) {
        const Message message = node.message;
        switch (message.kind) {
        case Message::Kind::Watch:
            if (node.known != message.clears && !(has(Flaw::OldRowsBelieved) && node.link.heard.load() < 0)) {
                if (node.clearing == 0)
                    node.obeying = 1;
                return;
            }
            node.known = message.clears;
            hear(node);
            break;
        case Message::Kind::Clear:
            node.link.told.store(message.cleared);
            break;
        default:
            if (node.asking != nullptr)
                end_question(node, message.row);
        }
        node.message = {};
    }

    void hear(Node &node) {
        node.link.table_is_stale.store(false);
        node.link.heard.store(node.message.clears);
        node.link.current_as_of_us.store(has(Flaw::CurrentAtReply) ? now_us_ : node.message.asked_us);
    }

    static void end_question(Node &node, const std::optional<int> &row) {
        Call &call = *node.asking;
        node.asking = nullptr;
        call.stage = row.has_value() ? Call::Stage::Keep : Call::Stage::Compute;
        call.answer = row;
        call.is_from_hub = row.has_value();
    }

    // Rows are no longer given, the epoch is raised, the number is written down; then all rows are deleted.
    void obey(Node &node) {
        const auto raise = [&] { node.epoch++; };
        const auto number = [&] { node.link.heard.store(node.message.clears); };
        switch (node.obeying++) {
        case 1:
            node.link.table_is_stale.store(true);
            break;
        case 2:
            has(Flaw::NumberBeforeEpoch) ? number() : raise();
            break;
        case 3:
            has(Flaw::NumberBeforeEpoch) ? raise() : number();
            break;
        case 4:
            if (node.clearing != 0) {  // which holds the lock
                node.obeying--;
                break;
            }
            node.row.reset();
            node.known = node.message.clears;
            break;
        default:
            hear(node);
            node.message = {};
            node.obeying = 0;
        }
    }

    // ---- what the node brings ----

    void give(Node &node) {
        auto &batch = node.batch;
        const auto number = [&] { batch.clears = node.link.heard.load(); };
        const auto epoch = [&] { batch.epoch = node.epoch; };
        switch (batch.step++) {
        case 0:
            has(Flaw::EpochBeforeNumber) ? epoch() : number();
            break;
        case 1:
            has(Flaw::EpochBeforeNumber) ? number() : epoch();
            break;
        case 2:
            batch.answer.reset();
            while (!node.for_hub.empty() && !batch.answer.has_value()) {
                if (node.for_hub.front().epoch == batch.epoch)
                    batch.answer = node.for_hub.front().answer;
                node.for_hub.erase(node.for_hub.begin());
            }
            if (batch.clears < 0 || !batch.answer.has_value())
                batch.step = 0;
            break;
        case 3:  // the hub reads its epoch, then its number
            batch.epoch = hub_.epoch;
            break;
        default:
            if (batch.clears == hub_.clears || has(Flaw::AnyBatch))
                hub_.records.push_back({*batch.answer, batch.epoch});
            batch.step = 0;
        }
    }

    // ---- what goes wrong ----

    // The hub may have done what it was asked.
    void lose_connection(Node &node) {
        if (node.obeying != 0)
            return;
        if (!node.message.is_back && node.message.kind == Message::Kind::Clear && below(2) == 0)
            answer(node);
        if (node.asking != nullptr)
            end_question(node, {});
        node.message = {};
    }

    // Shared memory begins anew; the table, and the number in it, is there.
    void restart(Node &node) {
        if (node.clearing != 0)
            return;
        const bool is_untold = node.link.cleared.load() != node.link.told.load();
        const auto row = node.row;
        const auto known = node.known;
        const int own = node.own;
        const std::uint64_t epoch = node.epoch + 1;
        node.~Node();
        new (&node) Node;
        node.row = row;
        node.known = known;
        node.own = own;
        node.epoch = epoch;
        node.link.cleared.store(is_untold ? 1 : 0);  // as the table says
    }

    struct Cleared {
        std::int64_t at_us;
        int least;
    };
    std::mt19937_64 random_;
    const Flaw flaw_;
    std::int64_t now_us_ = 1'000'000;
    int world_ = 0;
    Hub hub_;
    Node nodes_[2];
    std::vector<Cleared> cleared_;
    bool good_ = true;
};

// The first seed whose history has an answer that is too old; the number of histories: there is none.
std::uint64_t first_bad(Flaw flaw, std::uint64_t histories) {
    std::uint64_t seed = 0;
    while (seed < histories && History(seed, flaw).is_good())
        seed++;
    return seed;
}

TEST(NodeProtocol, NoAnswerIsOlderThanItMayBe) {
    EXPECT_EQ(first_bad(Flaw::None, kHistories), kHistories) << "the seed of a bad history";
}

class NodeProtocolWithout : public testing::TestWithParam<Flaw> {};

TEST_P(NodeProtocolWithout, IsFoundOut) { EXPECT_LT(first_bad(GetParam(), 100'000), 100'000U); }

INSTANTIATE_TEST_SUITE_P(Rules, NodeProtocolWithout,
                         testing::Values(Flaw::NoGate, Flaw::CurrentAtReply, Flaw::NumberBeforeEpoch,
                                         Flaw::KeptWithoutEpoch, Flaw::TableNotStale, Flaw::AnyBatch,
                                         Flaw::EpochBeforeNumber, Flaw::AskedWithUntold, Flaw::OldRowsBelieved));

}  // namespace
