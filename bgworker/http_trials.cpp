// Whose failure it is when an engine fails: the request's, the engine's, or that of a kind of requests or a model: see
// engine_check.hpp. Regime: pure.
#include "bgworker/http_channel.hpp"

#include "src/core/clock.hpp"

#include <algorithm>
#include <utility>

namespace steadytext::gateway {

namespace openai = core::openai;
using openai::Request;
using openai::Verdict;
using Suspect = EngineCheck::Suspect;

namespace {

constexpr std::int64_t kCompanyUs = 5'000'000;
constexpr std::size_t kChecksKept = 64;  // beyond them, those that are over are forgotten

bool asks_to_come_again(const Suspect &suspect) { return suspect.declined.why == Declined::Why::Busy; }

std::string reason_of(const HttpTransfer &transfer, CURLcode result, const openai::Reply &reply) {
    return result == CURLE_OK ? reply.reason : transfer.failure(result);
}

}  // namespace

bool HttpChannel::serves(Request::Kind kind) const {
    return kind == Request::Kind::Generate ? engine_.generates() : engine_.embeds();
}

std::string HttpChannel::model_at(std::size_t place) const {
    return place < engine_.models.size() ? engine_.models[place] : std::string();
}

bool HttpChannel::lists(const std::string &model) const {
    return has_one_model() || std::find(engine_.models.begin(), engine_.models.end(), model) != engine_.models.end();
}

// Callers may name models that the engine does not list: their failures are judged by the default model.
Subject HttpChannel::subject_of(const Request &request) const {
    const bool is_known = !has_one_model() && lists(request.model);
    return {request.kind == Request::Kind::Generate, is_known ? request.model : model_at(0)};
}

EngineCheck &HttpChannel::check_of(const Subject &subject) {
    const std::int64_t now_us = core::monotonic_us();
    if (checks_.size() >= kChecksKept && !checks_.contains(subject))
        std::erase_if(checks_, [&](const auto &check) { return check.second.is_over(now_us); });
    return checks_[subject];
}

void HttpChannel::note_answer(const Request &request) {
    if (!lists(request.model))
        return;
    const Subject subject = subject_of(request);
    check_of(subject).note_answer(company_us_);
    if (std::string &latest = answered_last_[subject.generates]; latest != subject.model)
        latest = subject.model;
}

// ---- the trial ------------------------------------------------------------------------------------------------------

void HttpChannel::suspect(const Request &request, Suspect suspect, ChannelListener &listener) {
    const Subject subject = subject_of(request);
    EngineCheck &check = check_of(subject);
    const std::int64_t now_us = core::monotonic_us();
    const bool is_known =
        asks_to_come_again(suspect) ? check.is_known_to_be_free(now_us) : check.is_known_to_work(now_us);
    if (!serves(request.kind) || is_known || (check.transfer == nullptr && !begin_trial(check, subject)))
        return acquit(std::move(suspect), listener);
    check.hold(std::move(suspect));
}

bool HttpChannel::begin_trial(EngineCheck &check, const Subject &subject) {
    check.asked.clear();
    check.failed.clear();
    check.is_put_off = false;
    return ask(check, subject);
}

bool HttpChannel::ask(EngineCheck &check, const Subject &subject) {
    check.transfer = start(openai::known_good_request(subject.kind(), subject.model, engine_));
    check.begun_us = core::monotonic_us();
    check.asked.push_back(subject);
    return check.transfer != nullptr;
}

// Other requests are in flight, or were until shortly before: the check may have waited behind them, as an engine works
// on a limited number at once. steadytext.breaker_timeout finds an engine that answers no request.
bool HttpChannel::had_company(const EngineCheck &check) const {
    return !transfers_.empty() || company_us_ >= check.begun_us - kCompanyUs;
}

// An engine that answers works, whatever the answer. If it has answered requests of the kind before, its path is only
// lost for now, and may come back; if it answered for another model, or lists several, this one has another purpose.
HttpChannel::Finding HttpChannel::finding_of(const Subject &asked, const EngineCheck &check,
                                             const HttpTransfer &transfer, CURLcode result, Verdict verdict) const {
    if (result == CURLE_OPERATION_TIMEDOUT && had_company(check))
        return Finding::Unknown;
    if (verdict == Verdict::Answer)
        return Finding::Works;
    if (verdict == Verdict::Busy)
        return Finding::Busy;
    if (verdict != Verdict::Unserved)
        return Finding::Fails;
    const bool is_said = transfer.status() == 501;
    const std::string &has_served = answered_last_[asked.generates];
    if (!has_one_model() && (is_said || (!has_served.empty() && has_served != asked.model)))
        return Finding::Works;
    const bool speaks_for_kind = asked.model == model_at(0) && (is_said || has_served.empty());
    return speaks_for_kind ? Finding::Unserved : Finding::Fails;
}

// Of the engine's own list, or the model that answered last, whatever models callers name now. The other kind of
// requests comes last.
Subject HttpChannel::next_witness(const Subject &subject, const EngineCheck &check) const {
    std::vector<Subject> witnesses;
    if (!check.is_put_off)
        for (const std::string &model : {model_at(0), model_at(1), answered_last_[subject.generates]})
            witnesses.push_back({subject.generates, model});
    if (const std::string &latest = answered_last_[!subject.generates]; serves(Subject{!subject.generates, {}}.kind()))
        witnesses.push_back({!subject.generates, latest.empty() ? model_at(0) : latest});
    for (Subject &witness : witnesses)
        if (!witness.model.empty() && std::find(check.asked.begin(), check.asked.end(), witness) == check.asked.end())
            return std::move(witness);
    return {};
}

// A caller's request for something else was answered in the last second.
bool HttpChannel::works_otherwise(const Subject &subject, const EngineCheck &check, std::int64_t now_us) const {
    return std::any_of(checks_.begin(), checks_.end(), [&](const auto &other) {
        const bool is_of_kind = other.first.generates == subject.generates;
        return other.second.has_just_answered(now_us) && !(check.is_put_off && is_of_kind) &&
               std::find(check.asked.begin(), check.asked.end(), other.first) == check.asked.end();
    });
}

void HttpChannel::end_check(const Subject &of, EngineCheck &check, const HttpTransfer &transfer, CURLcode result,
                            ChannelListener &listener) {
    const Subject subject = of, asked = check.asked.back();
    openai::Reply reply{.verdict = Verdict::Suspect, .message = {}, .reason = {}};
    if (result == CURLE_OK)
        reply = openai::read_reply(transfer.request(), engine_, transfer.status(), transfer.reply(), 0,
                                   transfer.has_retry_after());
    const std::string reason = reason_of(transfer, result, reply);
    if (result == CURLE_COULDNT_CONNECT) {
        convict_engine(check.take_suspects(), reason, true, listener);
        return go_down(reason, listener);
    }
    const Finding finding = finding_of(asked, check, transfer, result, reply.verdict);
    if (finding == Finding::Works || finding == Finding::Busy)
        checks_[asked].note_works(core::monotonic_us());
    if (finding == Finding::Unserved && asked.generates == subject.generates)
        return end_unserved(check, subject.kind(), listener);
    if (asked == subject ? end_own(subject, check, transfer, finding, reply, listener)
                         : end_witness(subject, check, transfer, finding, listener))
        return;
    if (finding == Finding::Fails)
        check.failed.emplace_back(asked, reason);
    if (works_otherwise(subject, check, core::monotonic_us()))
        return end_beside(check, listener);
    if (const Subject witness = next_witness(subject, check); !witness.model.empty() && ask(check, witness))
        return;
    if (check.is_put_off)
        return put_off(check.take_suspects(), check.retry_after_us, check.put_off_reason, false, listener);
    convict_engine(check.take_suspects(), check.failed.empty() ? reason : check.failed.front().second, false, listener);
    if (result == CURLE_OK && transfer.status() == 401)
        go_down("it refuses the key (HTTP 401)", listener);  // and read the key anew
}

// The request for the subject itself. True: that settles it.
bool HttpChannel::end_own(const Subject &subject, EngineCheck &check, const HttpTransfer &transfer, Finding finding,
                          const openai::Reply &reply, ChannelListener &listener) {
    if (finding == Finding::Works)
        check.note_free(core::monotonic_us());
    if (finding == Finding::Works || finding == Finding::Unknown) {
        for (Suspect &suspect : check.take_suspects())
            acquit(std::move(suspect), listener);
        return true;
    }
    if (finding != Finding::Busy)
        return false;
    const bool may_be_of_kind = has_one_model() && !reply.is_loading && serves(Subject{!subject.generates, {}}.kind());
    check.is_put_off = true;
    check.retry_after_us = transfer.retry_after_us();
    check.put_off_reason = reply.reason;
    if (!may_be_of_kind)
        put_off(check.take_suspects(), check.retry_after_us, reply.reason, !has_one_model(), listener,
                reply.is_loading);
    return !may_be_of_kind;
}

// The request for something else. True: the engine works.
bool HttpChannel::end_witness(const Subject &subject, EngineCheck &check, const HttpTransfer &transfer, Finding finding,
                              ChannelListener &listener) {
    const bool is_of_kind = check.asked.back().generates == subject.generates;
    const bool is_answer = finding == Finding::Works && (is_of_kind || transfer.status() < 300);
    const bool works = is_answer || finding == Finding::Unknown || (finding == Finding::Busy && !check.is_put_off);
    if (works)
        end_beside(check, listener);
    return works;
}

// The engine works, and fails at the subject, or puts it off.
void HttpChannel::end_beside(EngineCheck &check, ChannelListener &listener) {
    if (check.is_put_off)
        return put_off(check.take_suspects(), check.retry_after_us, check.put_off_reason, true, listener);
    const std::vector<std::pair<Subject, std::string>> failed = std::exchange(check.failed, {});
    std::vector<Suspect> suspects = check.take_suspects();
    for (auto next = failed.rbegin(); next != failed.rend(); ++next)  // the view tells of the last: the subject
        listener.on_convicted(next->first.generates, next->first.model, next->second);
    for (Suspect &suspect : suspects) {
        if (asks_to_come_again(suspect)) {
            acquit(std::move(suspect), listener);
            continue;
        }
        suspect.declined.is_of_its_model = true;
        listener.on_declined(*this, suspect.declined);
    }
}

void HttpChannel::end_unserved(EngineCheck &check, Request::Kind kind, ChannelListener &listener) {
    std::vector<Suspect> suspects = check.take_suspects();
    openai::narrow(engine_, kind);
    listener.on_described(openai::info_reply("", engine_));
    bool is_first = true;
    for (Suspect &suspect : suspects) {
        suspect.declined.why = Declined::Why::Unserved;
        suspect.declined.is_its_failure = std::exchange(is_first, false);
        listener.on_declined(*this, suspect.declined);
    }
}

// ---- the verdict ----------------------------------------------------------------------------------------------------

// A failed check is a single failure, however many requests wait for it; if the engine is gone, each request counts.
void HttpChannel::convict_engine(std::vector<Suspect> suspects, const std::string &reason, bool is_gone,
                                 ChannelListener &listener) {
    bool is_first = true;
    for (Suspect &suspect : suspects) {
        if (asks_to_come_again(suspect)) {
            acquit(std::move(suspect), listener);
            continue;
        }
        suspect.declined.is_its_failure = is_gone || std::exchange(is_first, false);
        suspect.declined.shown = reason;
        listener.on_declined(*this, suspect.declined);
    }
}

// Puts off those that were asked to come again, for as long as the engine told the check. Others are acquitted.
void HttpChannel::put_off(std::vector<Suspect> suspects, std::int64_t retry_after_us, const std::string &reason,
                          bool is_of_its_model, ChannelListener &listener, bool is_loading) {
    for (Suspect &suspect : suspects) {
        if (!asks_to_come_again(suspect)) {
            acquit(std::move(suspect), listener);
            continue;
        }
        suspect.declined.retry_after_us = retry_after_us;
        suspect.declined.is_loading = is_loading;
        suspect.declined.is_of_its_model = is_of_its_model;
        suspect.declined.shown = reason;
        listener.on_declined(*this, suspect.declined);
    }
}

// The engine works: the request made it fail, or something before the engine failed by chance.
void HttpChannel::acquit(Suspect suspect, ChannelListener &listener) {
    if (!suspect.message.empty())
        return listener.on_message(*this, suspect.message);
    suspect.declined.is_its_failure = false;
    listener.on_declined(*this, suspect.declined);
}

}  // namespace steadytext::gateway
