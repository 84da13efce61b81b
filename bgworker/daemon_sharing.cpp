// Embeddings that arrive within steadytext.batch_window of each other leave as one embed_batch. Regime: pure; see daemon.hpp.
//
// They wait in gathering_ in the order they came, the first for as long as the window is. Those that differ in their text only go
// together; the answer is taken apart, and each session gets what an embed of its own would have brought. An answer that
// cannot be taken apart, an error above all, may be one text's doing: then each is asked for alone.
#include "bgworker/daemon.hpp"

#include "shmem/segment.hpp"
#include "src/core/clock.hpp"
#include "src/core/embed_texts.hpp"

#include <algorithm>
#include <charconv>

namespace steadytext::gateway {

using shmem::SlotId;

namespace {

constexpr std::string_view kPrefix = "shared-";
constexpr std::size_t kMostTogether = 64;
constexpr std::size_t kMostBytes = 1 << 20;

std::string id_of(std::uint64_t number) { return std::string(kPrefix) + std::to_string(number); }

}  // namespace

bool Daemon::may_share(SlotId id) {
    return services_.settings.batch_window_us > 0 && shares_ && services_.flights.slot(id).operation == shmem::Operation::Embed &&
           services_.flights.of(id).attempts == 0;
}

std::int64_t Daemon::due_us() const {
    return gathering_.empty() ? INT64_MAX : services_.flights.of(gathering_.front()).queued_us + services_.settings.batch_window_us;
}

void Daemon::send_gathered(std::int64_t now_us) {
    while (!gathering_.empty() && (gathering_.size() >= kMostTogether || due_us() <= now_us || !shares_)) {
        Sharing sharing = take_alike();
        if (sharing.members.empty())
            continue;
        Channel *channel = sharing.members.size() > 1 && !is_busy(now_us) ? free_channel() : nullptr;
        if (channel == nullptr || !send_shared(*channel, sharing, now_us))
            waiting_.insert(waiting_.end(), sharing.members.begin(), sharing.members.end());
    }
}

// The first that waits, and others like it.
Daemon::Sharing Daemon::take_alike() {
    Sharing sharing;
    std::string rest;
    std::size_t bytes = 0;
    std::deque<SlotId> others;
    for (const SlotId id : gathering_) {
        if (!services_.flights.is_wanted(id)) {
            drop(id, core::monotonic_us());
            continue;
        }
        std::string &params = services_.buffer;
        std::string_view text, its_rest;
        params.resize(services_.flights.slot(id).request.bytes);
        const bool good = services_.segment.payloads->copy_out(services_.flights.slot(id).request, params.data()) &&
                          core::split_embed_params(params, text, its_rest);
        const bool is_first = sharing.members.empty();
        if (!good) {
            waiting_.push_back(id);
        } else if (is_first || (its_rest == rest && sharing.members.size() < kMostTogether && bytes + text.size() <= kMostBytes)) {
            if (is_first)
                rest = its_rest;
            bytes += text.size();
            sharing.members.push_back(id);
            sharing.texts.emplace_back(text);
        } else {
            others.push_back(id);
        }
    }
    gathering_.swap(others);
    sharing.rest = std::move(rest);
    return sharing;
}

bool Daemon::send_shared(Channel &channel, Sharing &sharing, std::int64_t now_us) {
    sharing.number = next_sharing_++;
    std::string params;
    core::join_embed_params(sharing.texts, sharing.rest, params);
    std::string &message = services_.buffer;
    message.assign("{\"method\": \"embed_batch\", \"params\": ").append(params);
    message.append(", \"id\": \"").append(id_of(sharing.number)).append("\"}");
    if (channel.send(message) != Channel::Sent::Yes)
        return false;
    for (const SlotId id : sharing.members) {
        note_sent(channel, id, now_us);
        services_.flights.of(id).sharing = sharing.number;
    }
    services_.segment.counters->add(0, shmem::Counter::SharedSends);
    sharing.texts.clear();
    sharing.channel = &channel;
    sharings_.push_back(std::move(sharing));
    return true;
}

// True if the message answers a shared one, or one that nobody waits for any more.
bool Daemon::handle_shared_reply(Channel &channel, std::string_view id_text, std::string_view body, std::int64_t now_us) {
    if (!id_text.starts_with(kPrefix))
        return false;
    std::uint64_t number = 0;
    std::from_chars(id_text.data() + kPrefix.size(), id_text.data() + id_text.size(), number);
    const auto found = std::find_if(sharings_.begin(), sharings_.end(),
                                    [&](const Sharing &sharing) { return sharing.number == number && sharing.channel == &channel; });
    if (found == sharings_.end())
        return true;
    const Sharing sharing = std::move(*found);
    sharings_.erase(found);
    std::vector<std::string_view> rows;
    const bool is_split = core::split_embed_batch_reply(body, sharing.members.size(), rows);
    std::string &part = services_.buffer;
    for (std::size_t i = 0; i < sharing.members.size(); i++) {
        const SlotId id = sharing.members[i];
        Flight *flight = services_.flights.find(id);
        if (flight == nullptr || flight->sharing != number)
            continue;  // its session gave up
        const std::int64_t took_us = now_us - flight->sent_us;
        settle(*flight);
        if (!is_split) {
            turns_.asked(flight->role, now_us);
            waiting_.push_back(id);
            continue;
        }
        record_answer(now_us, took_us);
        part.assign("{\"id\": null, \"result\": ").append(rows[i]).append(", \"error\": null}");
        services_.flights.deliver(id, part, now_us);
    }
    return true;
}

// One of them was given up: the daemon stops when the last one is.
void Daemon::leave_shared(Channel &channel, std::uint64_t number) {
    const auto found =
        std::find_if(sharings_.begin(), sharings_.end(), [&](const Sharing &sharing) { return sharing.number == number; });
    if (found == sharings_.end() || std::any_of(found->members.begin(), found->members.end(), [&](SlotId id) {
            const Flight *flight = services_.flights.find(id);
            return flight != nullptr && flight->sharing == number;
        }))
        return;
    sharings_.erase(found);
    send_cancel(channel, id_of(number));
}

}  // namespace steadytext::gateway
