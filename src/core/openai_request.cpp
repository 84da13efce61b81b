// Turns the gateway's request into the body that an engine gets. Regime: see openai.hpp.
#include "src/core/json_member.hpp"
#include "src/core/openai_json.hpp"

namespace steadytext::core::openai {

namespace {

constexpr std::string_view kModelsOwnEos = "[EOS]";  // the wire protocol's name for the model's own end

std::string as_json(std::string_view text) {
    std::string out;
    append_json_string(out, text, Escape::Utf8);
    return out;
}

std::string array_of(const std::vector<std::string> &texts, const std::string &prefix = {}) {
    std::string out = "[";
    for (const std::string &text : texts)
        out.append(out.size() > 1 ? ", " : "").append(as_json(prefix + text));
    return out += ']';
}

// An object in the engine's dialect, from members that are JSON already: some members are left out, and members of
// extra_body replace members of the same name.
class Body {
public:
    Body(const Engine &engine, const Dialect &dialect) : dialect_(dialect) {
        if (!engine.extra_body.empty() && extra_.parse(engine.extra_body) && extra_.root.get(members_) == simdjson::SUCCESS)
            has_extra_ = true;
    }
    void add(std::string_view name, std::string_view json) {
        dom::element other;
        const auto *found = std::find(std::begin(kOmittable), std::end(kOmittable), name);
        const bool is_omitted = found != std::end(kOmittable) && (dialect_.omitted >> (found - std::begin(kOmittable)) & 1) != 0;
        if (!is_omitted && (!has_extra_ || members_[name].get(other) != simdjson::SUCCESS))
            put(name, json);
    }
    [[nodiscard]] std::string close() {
        if (has_extra_)
            for (const auto member : members_)
                put(member.key, std::string(simdjson::minify(member.value)));
        return std::move(text_ += "}");
    }

private:
    void put(std::string_view name, std::string_view json) {
        text_.append(text_.empty() ? "{" : ", ").append(as_json(name)).append(": ").append(json);
    }

    const Dialect &dialect_;
    Document extra_;
    dom::object members_;
    bool has_extra_ = false;
    std::string text_;
};

// A text, or an array of texts; false for anything else.
bool read_texts(dom::element params, const char *key, std::vector<std::string> &texts) {
    dom::element value;
    if (params[key].get(value) != simdjson::SUCCESS)
        return false;
    std::string_view text;
    dom::array array;
    if (value.get(text) == simdjson::SUCCESS) {
        texts.emplace_back(text);
        return true;
    }
    if (value.get(array) != simdjson::SUCCESS)
        return false;
    for (const dom::element item : array) {
        if (item.get(text) != simdjson::SUCCESS)
            return false;
        texts.emplace_back(text);
    }
    return !texts.empty();
}

void add_number(Body &body, std::string_view name, dom::element params, const char *key) {
    dom::element value;
    if (params[key].get(value) == simdjson::SUCCESS && value.is_number())
        body.add(name, std::string(simdjson::minify(value)));
}

// The model's name as the engine knows it: the part after "provider:", or the given name, known or not; without a name,
// the engine's default.
std::string model_for(std::string_view named, const Engine &engine) {
    if (!engine.provider.empty() && named.starts_with(engine.provider + ":"))
        return std::string(named.substr(engine.provider.size() + 1));
    return !named.empty() || engine.models.empty() ? std::string(named) : engine.models.front();
}

// Choices as a grammar of llama.cpp.
std::string grammar_of(const std::vector<std::string> &choices) {
    std::string grammar = "root ::= ";
    for (const std::string &choice : choices)
        grammar.append(&choice == &choices.front() ? "" : " | ").append(as_json(choice));
    return grammar;
}

// The members that constrain the answer. OpenAI only has a name for schemas. vLLM calls the others structured_outputs,
// and guided_* in older versions; llama-server knows grammars. Engines refuse or ignore members that they do not know,
// so choices are checked in the answer.
void add_constraint(Body &body, dom::element params, std::string_view schema, const Engine &engine, Request &request) {
    if (schema.starts_with('{')) {
        body.add("response_format", std::string(R"({"type": "json_schema", "json_schema": {"name": "answer", )") +
                                        (engine.strict ? R"("strict": true, )" : "") + R"("schema": )" + std::string(schema) + "}}");
    } else if (const std::string_view regex = text_of(params, "regex"); !regex.empty()) {
        body.add("structured_outputs", "{\"regex\": " + as_json(regex) + "}");
        body.add("guided_regex", as_json(regex));
    } else if (read_texts(params, "choices", request.choices)) {
        body.add("structured_outputs", "{\"choice\": " + array_of(request.choices) + "}");
        body.add("guided_choice", array_of(request.choices));
        body.add("grammar", as_json(grammar_of(request.choices)));
    }
}

void write_generate(dom::element params, std::string_view schema, const Engine &engine, Request &request) {
    bool usage = false;
    request.return_usage = params["return_usage"].get(usage) == simdjson::SUCCESS && usage;
    const std::string prompt = as_json(text_of(params, "prompt"));
    Body body(engine, request.dialect);
    body.add("model", as_json(request.model));
    if (engine.api == Api::Completions) {
        request.path = engine.path_to("/completions");
        body.add("prompt", prompt);
    } else {
        request.path = engine.path_to("/chat/completions");
        body.add("messages", "[{\"role\": \"user\", \"content\": " + prompt + "}]");
    }
    add_number(body, "seed", params, "seed");
    add_number(body, "temperature", params, "temperature");
    // Reasoning counts against the limit of tokens that the model may write.
    if (std::int64_t most; params["max_new_tokens"].get(most) == simdjson::SUCCESS)
        body.add(request.dialect.max_tokens, std::to_string(most + engine.reasoning_tokens));
    if (const std::string_view eos = text_of(params, "eos_string"); !eos.empty() && eos != kModelsOwnEos)
        body.add("stop", array_of({std::string(eos)}));
    add_constraint(body, params, schema, engine, request);
    if (request.streams) {
        body.add("stream", "true");
        body.add("stream_options", R"({"include_usage": true})");
    }
    request.body = body.close();
}

bool write_embed(dom::element params, const char *key, const Engine &engine, Request &request) {
    std::vector<std::string> texts;
    if (!read_texts(params, key, texts))
        return false;
    request.path = engine.path_to("/embeddings");
    request.texts = texts.size();
    Body body(engine, request.dialect);
    body.add("model", as_json(request.model));
    body.add("input", array_of(texts, engine.prefix));
    body.add("encoding_format", as_json("float"));
    request.body = body.close();
    return true;
}

// The schema is passed on unchanged: it may have longer numbers, and nest deeper, than the reader of the message
// supports. `rest` is the message without its schema; without a schema, it is the message itself.
std::string_view take_schema(std::string_view message, std::string &storage, std::string_view &rest) {
    rest = message;
    const std::string_view schema = json_member(json_member(message, "params"), "schema");
    if (schema.empty())
        return {};
    const auto at = static_cast<std::size_t>(schema.data() - message.data());
    storage.assign(message.substr(0, at)).append("null").append(message.substr(at + schema.size()));
    rest = storage;
    return schema;
}

void refuse(Request &request, std::string why) {
    request.kind = Request::Kind::Refused;
    request.refusal = std::move(why);
}

}  // namespace

bool read_request(std::string_view message, const Engine &engine, Request &request) {
    using Kind = Request::Kind;
    Document document;
    dom::element params;
    std::string storage;
    std::string_view rest;
    const std::string_view schema = take_schema(message, storage, rest);
    if (!document.parse(rest) || document.root["params"].get(params) != simdjson::SUCCESS || !params.is_object())
        return false;
    request = Request{};
    request.id = text_of(document.root, "id");
    request.secrets = engine.secrets;
    request.model = model_for(text_of(params, "model"), engine);
    request.dialect = engine.dialect_of(request.model);
    const std::string_view method = text_of(document.root, "method");
    if ((method == "generate" || method == "generate_iter") && engine.generates()) {
        request.kind = Kind::Generate;
        request.streams = method == "generate_iter";
        write_generate(params, schema, engine, request);
    } else if ((method == "embed" || method == "embed_batch") && engine.embeds()) {
        request.kind = method == "embed" ? Kind::Embed : Kind::EmbedBatch;
        const bool good = write_embed(params, method == "embed" ? "text_input" : "texts", engine, request);
        if (!good || (method == "embed" && request.texts != 1))
            refuse(request, method == "embed" ? "Input text must be a string" : "Texts must be a list of strings");
    } else if (method == "ping") {
        request.kind = Kind::Ping;
        request.path = engine.path_to("/models");
    } else if (method == "info") {
        request.kind = Kind::Info;
    } else if (method == "cancel") {
        request.kind = Kind::Cancel;
        request.cancelled_id = text_of(params, "id");
    } else if (method == "rerank") {
        refuse(request, "An OpenAI-compatible engine cannot rerank");
    } else {
        refuse(request, "Unknown method: " + std::string(method));
    }
    return true;
}

Request known_good_request(Request::Kind kind, const std::string &model, const Engine &engine, std::string_view parameter) {
    const bool generates = kind == Request::Kind::Generate;
    std::string message = "{\"id\": \"\", \"method\": ";
    message += !generates                      ? R"("embed", "params": {"text_input": "Hello")"
               : parameter == "stream_options" ? R"("generate_iter", "params": {"prompt": "Hello")"
                                               : R"("generate", "params": {"prompt": "Hello")";
    if (generates)
        message += R"(, "seed": 0, "temperature": 0, "max_new_tokens": 1)";
    if (parameter == "stop")
        message += R"(, "eos_string": "END")";
    message.append(", \"model\": ").append(as_json(model)).append("}}");
    Engine only = engine;
    only.provider.clear();
    only.models = {model};
    Request request;
    (void)read_request(message, only, request);
    request.is_check = true;
    return request;
}

}  // namespace steadytext::core::openai
