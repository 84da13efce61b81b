// Shared by both directions: paths, models, and the replies that need no engine. Regime: see openai.hpp.
#include "src/core/openai.hpp"

#include "src/core/openai_json.hpp"
#include "src/core/sha256.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::size_t kMaxFingerprintBytes = 79;

void append_model(std::string &out, const Engine &engine, const char *role, const std::string &model) {
    out += out.back() == '[' ? "{\"role\": \"" : ", {\"role\": \"";
    out.append(role).append("\", \"name\": ");
    append_json_string(out, shown_name(engine, model), Escape::Utf8);
    out += ", \"fingerprint\": ";
    append_json_string(out, fingerprint_of(engine, model), Escape::Utf8);
    out += "}";
}

}  // namespace

std::string shown_name(const Engine &engine, const std::string &model) {
    return engine.provider.empty() ? model : engine.provider + ":" + model;
}

std::string fingerprint_of(const Engine &engine, std::string_view model) {
    if (!engine.fingerprint.empty())
        return engine.fingerprint;
    return ("http:" + std::string(model)).substr(0, kMaxFingerprintBytes - engine.variant.size()) + engine.variant;
}

bool is_object(std::string_view json) {
    Document document;
    return document.parse(json);
}

// An extra_body alone has the hash that it always had, so answers cached with it are found.
std::string variant_of(const Engine &engine) {
    constexpr std::size_t kDigits = 8;
    std::string all = engine.extra_body;
    if (!engine.prefix.empty())
        all.append("\nprefix=").append(engine.prefix);
    if (engine.reasoning_tokens != 0)
        all.append("\nreasoning_tokens=").append(std::to_string(engine.reasoning_tokens));
    if (engine.dialect.omitted != 0)
        all.append("\nomit=").append(std::to_string(engine.dialect.omitted));
    if (all.empty())
        return {};
    Sha256 *sha256 = Sha256::instance();
    if (sha256 == nullptr)
        return "+";
    sha256->begin();
    sha256->add(all);
    char hex[kHexBytes];
    to_hex(sha256->finish(), hex);
    return "+" + std::string(hex, kDigits);
}

Engine engine_of(const DaemonEntry &entry) {
    constexpr struct {
        std::string_view ending;
        Api api;
    } kEndings[] = {
        {"/chat/completions", Api::Chat}, {"/completions", Api::Completions}, {"/embeddings", Api::Embeddings}};
    Engine engine;
    engine.provider = entry.provider;
    engine.fingerprint = entry.fingerprint;
    engine.prefix = entry.prefix;
    engine.reasoning_tokens = entry.reasoning_tokens;
    if (entry.max_tokens_param[0] != '\0')
        engine.dialect.max_tokens = entry.max_tokens_param;
    engine.dialect.omitted = entry.omitted;
    engine.strict = entry.strict;
    engine.variant = variant_of(engine);
    engine.batch = entry.batch;
    engine.is_model_given = entry.model[0] != '\0';
    if (engine.is_model_given)
        engine.models.emplace_back(entry.model);
    std::string_view path = entry.endpoint.path;
    while (path.ends_with('/'))
        path.remove_suffix(1);
    for (const auto &[ending, api] : kEndings) {
        if (engine.api == Api::Any && path.ends_with(ending)) {
            path.remove_suffix(ending.size());
            engine.api = api;
        }
    }
    engine.base = path.empty() ? "/v1" : path;
    if (entry.endpoint.query[0] != '\0')
        engine.query = std::string("?") + entry.endpoint.query;
    return engine;
}

bool read_models(std::string_view body, Engine &engine) {
    Document document;
    dom::array listed;
    if (!document.parse(body) || document.root["data"].get(listed) != simdjson::SUCCESS)
        return false;
    std::vector<std::string> models;
    bool has_more = false;
    for (const dom::element described : listed) {
        const std::string_view id = text_of(described, "id");
        if (id.empty())
            continue;
        if (models.size() == kMaxModels) {
            has_more = true;
            break;
        }
        if (models.empty())
            engine.owner = text_of(described, "owned_by");
        models.emplace_back(id);
    }
    if (!engine.is_model_given) {
        engine.models = std::move(models);
        engine.has_more_models = has_more;
    }
    return true;
}

void narrow(Engine &engine, Request::Kind unserved) {
    if (engine.api == Api::Any)
        engine.api = unserved == Request::Kind::Generate ? Api::Embeddings : Api::Chat;
}

std::string read_listing(long status, std::string_view body, Engine &engine, bool says_when, bool &is_loading) {
    is_loading = false;
    if ((status == 404 || status == 405) && engine.is_model_given)
        return {};
    if (status < 200 || status >= 300) {
        Request asked;
        asked.secrets = engine.secrets;
        const EngineError error = read_error(body);
        const Reply failure = failure_reply(asked, error, status, says_when);
        is_loading = status == 503 && failure.verdict == Verdict::Busy;
        if (failure.verdict == Verdict::Answer)
            return "it answers HTTP " + std::to_string(status) + " to a request for its models: " +
                   (engine.secrets == nullptr ? error.words : engine.secrets->masked(error.words));
        return failure.reason;
    }
    if (!read_models(body, engine))
        return "it does not list its models as an OpenAI-compatible engine does";
    return engine.models.empty() ? "it has no model" : "";
}

std::string info_reply(std::string_view id, const Engine &engine) {
    std::string out = begin_reply(id);
    out += "{\"name\": ";
    append_json_string(out, engine.owner.empty() ? "openai" : engine.owner, Escape::Utf8);
    out += ", \"models\": [";
    for (const std::string &model : engine.models) {
        if (engine.generates())
            append_model(out, engine, "generation", model);
        if (engine.embeds())
            append_model(out, engine, "embedding", model);
    }
    out += ']';
    if (engine.embeds() && engine.batch > 1)
        out += R"(, "capabilities": ["embed_batch"])";
    if (engine.has_more_models)
        out += ", \"has_more_models\": true";
    return out += "}, \"error\": null}";
}

std::string pong_reply(std::string_view id) { return begin_reply(id) + "\"pong\", \"error\": null}"; }

std::string error_reply(std::string_view id, std::string_view error) {
    std::string out = begin_reply(id) + "null, \"error\": ";
    append_json_string(out, error, Escape::Utf8);
    return out += "}";
}

std::string begin_reply(std::string_view id) {
    std::string out = "{\"id\": ";
    append_json_string(out, id, Escape::Utf8);
    return out += ", \"result\": ";
}

}  // namespace steadytext::core::openai
