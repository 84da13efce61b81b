// The faults the echo daemon commits on request, one small function each.
//
// A fault edits the work about to be done: its replies, its delay, how it ends. Asked for by a prompt that
// starts with `!fault:NAME[=ARGUMENT][,NAME[=ARGUMENT]...]` (a blank ends the list), or by the method
// `control`. Regime: pure; used by echo_daemon.cpp only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace steadytext::echo {

using Clock = std::chrono::steady_clock;

// A request that was accepted and is not finished: what will be sent, and when.
struct Work {
    std::string peer;
    std::string id;                      // as JSON text
    std::deque<std::string> replies;     // message bodies, sent one by one; a stream has many
    std::chrono::milliseconds delay{0};  // before each reply
    Clock::time_point due = Clock::time_point::max();
    Clock::time_point deadline = Clock::time_point::max();
    int frames_per_reply = 1;
    bool takes_slot = true;
    bool is_background = false;  // the others go first
    bool started = false;
    bool wants_ack = false;  // the client confirms each reply of the stream before the next is sent
    bool awaiting_ack = false;
    bool held = false;  // until control {"release": true}
    bool deaf = false;  // neither cancel nor timeout_ms ends it
    bool kills_daemon = false;
    bool kills_daemon_at_end = false;
};

inline std::string success(std::string_view id, std::string_view result, std::string_view usage = {}) {
    std::string body;
    body.reserve(id.size() + result.size() + usage.size() + 60);
    return body.append(R"({"id": )")
        .append(id)
        .append(R"(, "result": )")
        .append(result)
        .append(R"(, "error": null)")
        .append(usage.empty() ? "" : R"(, "usage": )")
        .append(usage)
        .append("}");
}

inline std::string failure(std::string_view id, std::string_view message) {
    using nlohmann::json;
    const std::string text = json(message).dump(-1, ' ', false, json::error_handler_t::replace);
    std::string body;
    return body.append(R"({"id": )").append(id).append(R"(, "result": null, "error": )").append(text).append("}");
}

namespace faults {

inline long number(std::string_view argument, long standard) {
    return argument.empty() ? standard : std::strtol(std::string(argument).c_str(), nullptr, 10);
}

inline void answer(Work &work, std::string body) { work.replies.assign(1, std::move(body)); }

// A digit of the id becomes another one, so that it still looks like an id.
inline void change_id(Work &work, std::size_t position) {
    if (work.id.size() < 3)
        return;
    std::string id = work.id;
    id[position] = id[position] == '0' ? '1' : '0';
    for (std::string &reply : work.replies)
        if (const auto at = reply.find(work.id); at != std::string::npos)
            reply.replace(at, id.size(), id);
}

inline void garbage(Work &work, std::string_view) { answer(work, "\x01\xfe not JSON at all {]"); }
inline void truncated(Work &work, std::string_view) { work.replies.front().resize(work.replies.front().size() / 2); }
inline void oversized(Work &work, std::string_view bytes) {
    std::string result = "\"";
    result.append(static_cast<std::size_t>(number(bytes, 32L << 20)), 'x');
    answer(work, success(work.id, result + '"'));
}
inline void duplicate(Work &work, std::string_view) { work.replies.insert(work.replies.begin(), work.replies.front()); }
inline void late(Work &work, std::string_view ms) {
    work.delay = std::chrono::milliseconds(number(ms, 1000));
    work.deaf = true;
}
inline void delay(Work &work, std::string_view ms) { work.delay = std::chrono::milliseconds(number(ms, 1000)); }
inline void hold(Work &work, std::string_view) { work.held = true; }
inline void no_reply(Work &work, std::string_view) { work.replies.clear(); }
inline void wrong_id(Work &work, std::string_view) {
    change_id(work, work.id.size() - 2);
}  // the last digit: generation
inline void previous_boot(Work &work, std::string_view) { change_id(work, 1); }  // the first: boot epoch
inline void null_id(Work &work, std::string_view) { answer(work, success("null", "\"an answer to nobody\"")); }
inline void nul(Work &work, std::string_view) { answer(work, success(work.id, R"("before\u0000after")")); }
inline void bad_utf8(Work &work, std::string_view) { answer(work, success(work.id, "\"\xc3\x28 \xff\xfe\"")); }

// What a database of another encoding than UTF-8 has no room for, also in the pieces of a stream.
inline void smile(Work &work, std::string_view) {
    constexpr std::string_view kWord = "smile", kFace = "\xf0\x9f\x98\x80";
    for (std::string &reply : work.replies)
        for (auto at = reply.find(kWord); at != std::string::npos; at = reply.find(kWord, at + kFace.size()))
            reply.replace(at, kWord.size(), kFace);
}

// Of an embedding the first number becomes NaN, so that its shape stays right; any other result is NaN
// itself.
inline void nan(Work &work, std::string_view) {
    std::string &reply = work.replies.front();
    const auto bracket = reply.find('[');
    if (bracket == std::string::npos)
        return answer(work, success(work.id, "NaN"));
    const auto start = reply.find_first_not_of('[', bracket);
    reply.replace(start, reply.find_first_of(",]", start) - start, "NaN");
}
// Of all counts of tokens in the reply.
inline void tokens(Work &work, std::string_view argument) {
    for (std::string &reply : work.replies)
        for (const std::string_view key : {R"("prompt_tokens": )", R"("completion_tokens": )"})
            if (const auto at = reply.find(key); at != std::string::npos)
                reply.replace(at + key.size(), reply.find_first_of(",}", at) - at - key.size(), argument);
}
inline void zeros(Work &work, std::string_view count) {
    std::string vector = "[";
    for (long i = 0; i < number(count, 2000); i++)
        vector += "0, ";
    answer(work, success(work.id, vector + "1]"));
}
inline void deep_json(Work &work, std::string_view depth) {
    const auto levels = static_cast<std::size_t>(number(depth, 100000));
    answer(work, success(work.id, std::string(levels, '[') + std::string(levels, ']')));
}
inline void multipart(Work &work, std::string_view frames) {
    work.frames_per_reply = static_cast<int>(number(frames, 100));
}
inline void empty(Work &work, std::string_view) { answer(work, ""); }
inline void error(Work &work, std::string_view text) {
    answer(work, failure(work.id, text.empty() ? "Echo was told to fail" : text));
}
inline void exit(Work &work, std::string_view) { work.kills_daemon = true; }
inline void exit_after(Work &work, std::string_view replies) {
    work.replies.resize(std::min(work.replies.size(), static_cast<std::size_t>(number(replies, 1))));
    work.kills_daemon_at_end = true;
}
inline void garbage_after(Work &work, std::string_view replies) {
    work.replies.resize(std::min(work.replies.size(), static_cast<std::size_t>(number(replies, 1))));
    work.replies.push_back(success(work.id, "[]"));
}
inline void error_after(Work &work, std::string_view replies) {
    work.replies.resize(std::min(work.replies.size(), static_cast<std::size_t>(number(replies, 1))));
    work.replies.push_back(failure(work.id, "Echo was told to fail"));
}

}  // namespace faults

struct Fault {
    std::string_view name;
    std::string_view argument;  // empty: takes none
    void (*commit)(Work &work, std::string_view argument);
    std::string_view help;
};

inline constexpr Fault kFaults[] = {
    {"garbage", "", faults::garbage, "the reply is not JSON"},
    {"truncated", "", faults::truncated, "the reply is cut in half"},
    {"oversized", "BYTES", faults::oversized, "the result is a string of so many bytes (32 MiB)"},
    {"duplicate", "", faults::duplicate, "the reply comes twice"},
    {"delay", "MS", faults::delay, "work of so many milliseconds (1000), which a cancel ends"},
    {"late", "MS", faults::late, "the reply comes so late (1000), whatever cancel or timeout_ms said"},
    {"hold", "", faults::hold, "the reply comes after control {\"release\": true}"},
    {"no-reply", "", faults::no_reply, "no reply at all"},
    {"wrong-id", "", faults::wrong_id, "the last digit of the id differs"},
    {"previous-boot", "", faults::previous_boot, "the first digit of the id, thus the boot epoch, differs"},
    {"null-id", "", faults::null_id, "the id is null"},
    {"nul", "", faults::nul, "the result holds a NUL character"},
    {"bad-utf8", "", faults::bad_utf8, "the result is not UTF-8"},
    {"smile", "", faults::smile, "each word smile of the result becomes U+1F600"},
    {"nan", "", faults::nan, "the first number of an embedding is NaN; any other result is NaN"},
    {"tokens", "NUMBER", faults::tokens, "all counts of tokens in the reply are this number"},
    {"zeros", "COUNT", faults::zeros, "an embedding is so many zeros (2000) and a one"},
    {"deep-json", "DEPTH", faults::deep_json, "the result is so many nested arrays (100000)"},
    {"multipart", "FRAMES", faults::multipart, "the reply comes in so many frames (100)"},
    {"empty", "", faults::empty, "the reply is a frame without a byte"},
    {"error", "TEXT", faults::error, "an error reply; a blank of TEXT is written as _"},
    {"exit", "", faults::exit, "the daemon dies where it would have replied"},
    {"exit-after", "N", faults::exit_after, "the daemon dies after N replies (1) of a stream"},
    {"garbage-after", "N", faults::garbage_after, "after N replies (1) of a stream comes none of a stream"},
    {"error-after", "N", faults::error_after, "after N replies (1) of a stream comes an error reply"},
};

inline constexpr std::string_view kFaultPrefix = "!fault:";

inline const Fault *find_fault(std::string_view name) {
    for (const Fault &fault : kFaults)
        if (fault.name == name)
            return &fault;
    return nullptr;
}

// Commits each fault of a list such as `delay=50,duplicate`; returns the name it does not know, if there is
// one.
inline std::string_view commit_faults(Work &work, std::string_view list) {
    list = list.substr(0, list.find_first_of(" \t\n"));
    while (!list.empty()) {
        const auto comma = list.find(',');
        const std::string_view item = list.substr(0, comma);
        list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
        const auto equals = item.find('=');
        std::string argument(equals == std::string_view::npos ? "" : item.substr(equals + 1));
        std::replace(argument.begin(), argument.end(), '_', ' ');
        const Fault *fault = find_fault(item.substr(0, equals));
        if (fault == nullptr)
            return item;
        if (!work.replies.empty())  // what follows no-reply has nothing to spoil
            fault->commit(work, argument);
    }
    return {};
}

}  // namespace steadytext::echo
