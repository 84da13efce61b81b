// Learns which parameters an engine refuses: see http_channel.hpp. Regime: pure.
#include "bgworker/http_channel.hpp"

#include "src/core/clock.hpp"

#include <algorithm>
#include <utility>

namespace steadytext::gateway {

namespace openai = core::openai;
using openai::Request;

namespace {

constexpr std::int64_t kHoldsUs = 1'000'000;  // how long a parameter is known to be taken

}  // namespace

void HttpChannel::ask_whether_refused(const HttpTransfer &transfer, std::string parameter, ChannelListener &listener) {
    const Request &request = transfer.request();
    EngineCheck::Suspect refused{{request.id, Declined::Why::Reworded, "it wants the request in another form", {}}, {}};
    if (openai::is_outdated(engine_, request))
        return listener.on_declined(*this, refused.declined);
    openai::Reply reply =
        openai::read_reply(request, engine_, transfer.status(), transfer.reply(), 0, transfer.has_retry_after());
    if (reply.verdict != openai::Verdict::Answer)
        return conclude(transfer, std::move(reply), listener);
    refused.message = std::move(reply.message);
    const std::int64_t now_us = core::monotonic_us();
    lessons_.remove_if([&](const Lesson &lesson) { return lesson.holds_until_us <= now_us; });
    auto lesson = std::find_if(lessons_.begin(), lessons_.end(), [&](const Lesson &known) {
        return known.kind == request.kind && known.model == request.model && known.parameter == parameter;
    });
    if (lesson == lessons_.end()) {
        lesson =
            lessons_.insert(lesson, Lesson{request.kind, request.model, parameter, nullptr, {}, now_us + kHoldsUs});
        if (lesson->transfer = start(openai::known_good_request(request.kind, request.model, engine_, parameter));
            lesson->transfer != nullptr)
            lesson->holds_until_us = INT64_MAX;
    }
    if (lesson->transfer == nullptr)
        return listener.on_message(*this, refused.message);
    lesson->refused.push_back(std::move(refused));
}

// If the engine takes the parameter in the gateway's request, it refused the other request for its content: the caller
// gets the engine's words.
void HttpChannel::end_lesson(Lesson lesson, CURLcode result, ChannelListener &listener) {
    const HttpTransfer &transfer = *lesson.transfer;
    std::string words;
    const bool is_learned =
        result == CURLE_OK && openai::learn(engine_, transfer.request(), transfer.status(), transfer.reply(), words);
    const std::vector<EngineCheck::Suspect> refused = std::move(lesson.refused);
    if (!is_learned)
        lessons_.push_back({lesson.kind, lesson.model, lesson.parameter, nullptr, {}, core::monotonic_us() + kHoldsUs});
    if (!words.empty())
        listener.on_lesson(words);
    for (const EngineCheck::Suspect &request : refused) {
        if (is_learned)
            listener.on_declined(*this, request.declined);
        else
            listener.on_message(*this, request.message);
    }
}

}  // namespace steadytext::gateway
