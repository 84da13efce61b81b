// Learns which parameters a model takes from the engine's refusals. Regime: see openai.hpp.
//
// OpenAI's o1, gpt-5 and similar models refuse max_tokens (they want max_completion_tokens) and a temperature; other
// models do not know seed, stop or stream_options. Each refusal names a single parameter, so a model may have to teach
// several times, once for each parameter.
//
// A refusal of a caller's request may repeat words of that request. So it only says which parameter to test; the engine
// teaches only by its answer to the gateway's own request, in which only the model's name comes from a caller.
#include "src/core/openai_json.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::size_t kMaxOthers = 64;  // models of an engine that its entry does not name
constexpr std::string_view kOtherLimit = "max_completion_tokens";

// The parameter that is refused, if the answer says so.
std::string named_parameter(const EngineError &error) {
    for (const std::string_view code :
         {"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
        if (error.code == code)
            return error.parameter;
    for (const std::string_view words :
         {"unsupported", "not supported", "does not support", "unrecognized", "extra inputs"})
        if (contains_word(error.words, words))
            return error.parameter;
    return {};
}

// Unchanged if the dialect has no other form for the parameter.
Dialect without(const std::string &parameter, Dialect dialect) {
    if (parameter == "max_tokens" && dialect.max_tokens == parameter)
        dialect.max_tokens = kOtherLimit;
    const auto *found = std::find(std::begin(kOmittable), std::end(kOmittable), parameter);
    if (found != std::end(kOmittable))
        dialect.omitted = static_cast<std::uint8_t>(dialect.omitted | 1U << (found - std::begin(kOmittable)));
    return dialect;
}

bool is_known(const Engine &engine, const std::string &model) {
    return std::find(engine.models.begin(), engine.models.end(), model) != engine.models.end();
}

// Callers may name any number of other models: a new model replaces another, which is tested again when it is wanted.
void remember(Engine &engine, const std::string &model, Dialect dialect) {
    const auto is_other = [&](const auto &taught) { return !is_known(engine, taught.first); };
    if (!is_known(engine, model) && !engine.learned.contains(model) &&
        static_cast<std::size_t>(std::count_if(engine.learned.begin(), engine.learned.end(), is_other)) >= kMaxOthers)
        engine.learned.erase(std::find_if(engine.learned.begin(), engine.learned.end(), is_other));
    engine.learned[model] = std::move(dialect);
}

}  // namespace

bool is_outdated(const Engine &engine, const Request &request) {
    return request.dialect != engine.dialect_of(request.model);
}

std::string refused_parameter(const Request &request, long status, std::string_view body) {
    const bool is_asked = request.kind == Request::Kind::Generate || request.kind == Request::Kind::Embed ||
                          request.kind == Request::Kind::EmbedBatch;
    if ((status != 400 && status != 422) || !is_asked)
        return {};
    std::string parameter = named_parameter(read_error(body));
    return without(parameter, request.dialect) == request.dialect ? std::string() : parameter;
}

bool learn(Engine &engine, const Request &check, long status, std::string_view body, std::string &lesson) {
    if (is_outdated(engine, check))
        return true;
    const std::string parameter = refused_parameter(check, status, body);
    if (!check.is_check || parameter.empty())
        return false;
    lesson = is_known(engine, check.model) ? "model " + check.model : "another model";
    if (parameter == check.dialect.max_tokens)
        lesson += " takes " + std::string(kOtherLimit) + ", not max_tokens";
    else
        lesson += " takes no " + parameter;
    remember(engine, check.model, without(parameter, check.dialect));
    return true;
}

}  // namespace steadytext::core::openai
