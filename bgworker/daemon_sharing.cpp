// Embeddings of a role that arrive close together leave as a single embed_batch: see daemon.hpp. Regime: pure.
//
// They wait in gathering_ in the order they came. The first waits for the window: steadytext.batch_window, and
// kCompanyUs at an engine over HTTP, where each message costs a request, while other requests of its role are in
// flight. Only requests that differ in nothing but their text go together. The answer is taken apart, and each session
// gets the answer of a single embed. If an answer cannot be taken apart, above all an error, a single text may be the
// cause: then each half is sent again, down to the text that is at fault.
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
constexpr std::int64_t kEmbeddingBytes = 256 << 10;  // more than that for each counts as unasked for
constexpr std::size_t kMaxTogether = 64;             // for a daemon; an engine's entry says how many it takes (batch=)
constexpr std::size_t kMaxBytes = 256 << 10;         // a token has at least a byte, and OpenAI takes 300,000 tokens
constexpr std::int64_t kCompanyUs = 1000;

std::string id_of(std::uint64_t number) { return std::string(kPrefix) + std::to_string(number); }

}  // namespace

bool Daemon::may_share(SlotId id) {
    return (services_.settings.batch_window_us > 0 || is_engine()) && shares_ &&
           services_.flights.slot(id).operation == shmem::Operation::Embed && services_.flights.of(id).attempts == 0;
}

std::size_t Daemon::most_together() const {
    return is_engine() ? static_cast<std::size_t>(entry_.batch) : kMaxTogether;
}

std::int64_t Daemon::due_us_of(SlotId id) const {
    const Flight &flight = services_.flights.of(id);
    const bool has_company = is_engine() && turns_of(flight).in_flight(party_of(flight)) > 0;
    const std::int64_t window_us = std::max(services_.settings.batch_window_us, has_company ? kCompanyUs : 0);
    return std::max(flight.company != 0 ? flight.queued_us : flight.queued_us + window_us, busy_until_us_for(id));
}

// If the daemon is busy or away, it gets the gathered requests when it is back: tick() and on_up() do this. Unless a
// role is put off, the first request is due first.
std::int64_t Daemon::due_us() const {
    std::int64_t due_us = INT64_MAX;
    if (gathering_.empty() || !is_up())
        return due_us;
    for (const SlotId id : gathering_) {
        due_us = std::min(due_us, due_us_of(id));
        if (put_offs_.empty())
            break;
    }
    return due_us;
}

bool Daemon::is_kept_waiting(SlotId id, std::int64_t now_us) const { return shares_ && is_busy_for(id, now_us); }

void Daemon::send_gathered(std::int64_t now_us) {
    const auto are_enough = [&] {
        return gathering_.size() >= most_together() && !is_busy(now_us) &&
               (put_offs_.empty() ||
                static_cast<std::size_t>(std::count_if(gathering_.begin(), gathering_.end(), [&](SlotId id) {
                    return !is_kept_waiting(id, now_us);
                })) >= most_together());
    };
    while (!gathering_.empty() && (are_enough() || due_us() <= now_us || !shares_)) {
        Sharing sharing = take_alike(now_us);
        Channel *channel = sharing.members.size() > 1 ? free_channel() : nullptr;
        if (channel == nullptr || !send_shared(*channel, sharing, now_us))
            waiting_.insert(waiting_.end(), sharing.members.begin(), sharing.members.end());
    }
}

// Takes the first request that may go, and others like it.
Daemon::Sharing Daemon::take_alike(std::int64_t now_us) {
    Sharing sharing;
    std::string rest;
    std::size_t bytes = 0;
    std::uint64_t party = 0, company = 0;
    std::deque<SlotId> others;
    for (const SlotId id : gathering_) {
        if (!services_.flights.is_wanted(id)) {
            drop(id, core::monotonic_us());
            continue;
        }
        if (is_kept_waiting(id, now_us)) {
            others.push_back(id);
            continue;
        }
        std::string &params = services_.buffer;
        std::string_view text, its_rest;
        params.resize(services_.flights.slot(id).request.bytes);
        const bool good = services_.segment.payloads->copy_out(services_.flights.slot(id).request, params.data()) &&
                          core::split_embed_params(params, text, its_rest);
        const Flight &flight = services_.flights.of(id);
        const bool is_first = sharing.members.empty();
        if (!good) {
            waiting_.push_back(id);
        } else if (is_first || (party_of(flight) == party && flight.company == company && its_rest == rest &&
                                sharing.members.size() < most_together() && bytes + text.size() <= kMaxBytes)) {
            if (is_first) {
                rest = its_rest;
                party = party_of(flight);
                company = flight.company;
            }
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
    message.assign("{\"method\": \"embed_batch\", \"params\": ");
    const std::size_t params_at = message.size();
    message.append(params);
    tell_priority(message, params_at, services_.flights.of(sharing.members.front()));
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

// True if the message answers a shared message, also if nobody waits for it any more.
bool Daemon::handle_shared_reply(Channel &channel, std::string_view id_text, std::string_view body,
                                 std::int64_t now_us) {
    if (!id_text.starts_with(kPrefix))
        return false;
    Sharing sharing;
    if (!take_shared(channel, id_text, sharing))
        return true;
    unasked_now_ -= static_cast<std::int64_t>(sharing.members.size()) * kEmbeddingBytes;
    std::vector<std::string_view> rows;
    if (!core::split_embed_batch_reply(body, sharing.members.size(), rows)) {
        halve(sharing, now_us);
        return true;
    }
    std::string &part = services_.buffer;
    for (std::size_t i = 0; i < sharing.members.size(); i++) {
        const SlotId id = sharing.members[i];
        Flight *flight = flight_in(sharing, id);
        if (flight == nullptr)
            continue;
        const std::int64_t took_us = now_us - flight->sent_us;
        settle(*flight);
        record_answer(id, now_us, took_us);
        part.assign("{\"id\": null, \"result\": ").append(rows[i]).append(", \"error\": null}");
        services_.flights.deliver(id, part, now_us);
    }
    return true;
}

// Finds the shared message with this id, which is now answered or declined.
bool Daemon::take_shared(Channel &channel, std::string_view id_text, Sharing &sharing) {
    if (!id_text.starts_with(kPrefix))
        return false;
    std::uint64_t number = 0;
    std::from_chars(id_text.data() + kPrefix.size(), id_text.data() + id_text.size(), number);
    const auto found = std::find_if(sharings_.begin(), sharings_.end(), [&](const Sharing &sent) {
        return sent.number == number && sent.channel == &channel;
    });
    if (found == sharings_.end())
        return false;
    sharing = std::move(*found);
    sharings_.erase(found);
    return true;
}

// Null if its session gave up.
Flight *Daemon::flight_in(const Sharing &sharing, SlotId id) {
    Flight *flight = services_.flights.find(id);
    return flight != nullptr && flight->sharing == sharing.number ? flight : nullptr;
}

// A single text may be the cause for all: each half is sent again, at once and by itself. For n texts with a bad text
// the message is sent 2 log n times; it is never sent more than 2 n times.
void Daemon::halve(const Sharing &sharing, std::int64_t now_us) {
    const std::size_t half = sharing.members.size() / 2;
    std::vector<SlotId> again;
    for (std::size_t i = 0; i < sharing.members.size(); i++) {
        Flight *flight = flight_in(sharing, sharing.members[i]);
        if (flight == nullptr)
            continue;
        settle(*flight);
        turns_of(*flight).asked(party_of(*flight), now_us);
        flight->attempts--;  // it has not been sent by itself
        flight->company = next_company_ + (i >= half ? 1 : 0);
        again.push_back(sharing.members[i]);
    }
    next_company_ += 2;
    gathering_.insert(gathering_.begin(), again.begin(), again.end());
}

// An engine declined the message. A statement about the engine holds for each text; a statement about a text is tested
// by halving.
bool Daemon::decline_shared(Channel &channel, const Declined &declined, std::int64_t now_us) {
    using Why = Declined::Why;
    Sharing sharing;
    if (!take_shared(channel, declined.id, sharing))
        return false;
    if (!declined.is_its_failure && (declined.why == Why::Unavailable || declined.why == Why::Invalid)) {
        halve(sharing, now_us);
        return true;
    }
    for (const SlotId id : sharing.members)
        if (Flight *flight = flight_in(sharing, id); flight != nullptr)
            decline(id, *flight, declined, now_us);
    return true;
}

// A member was given up: the daemon is told to stop when the last member is given up.
void Daemon::leave_shared(Channel &channel, std::uint64_t number) {
    const auto found = std::find_if(sharings_.begin(), sharings_.end(),
                                    [&](const Sharing &sharing) { return sharing.number == number; });
    if (found == sharings_.end() || std::any_of(found->members.begin(), found->members.end(), [&](SlotId id) {
            const Flight *flight = services_.flights.find(id);
            return flight != nullptr && flight->sharing == number;
        }))
        return;
    sharings_.erase(found);
    send_cancel(channel, id_of(number));
}

}  // namespace steadytext::gateway
