// Reads member by member, and checks the type of each: see daemon_info.hpp. Regime: pure.
#include "src/core/daemon_info.hpp"

#include "src/core/reply.hpp"

#include <algorithm>
#include <new>
#include <simdjson.h>

namespace steadytext::core {

namespace dom = simdjson::dom;

namespace {

// The parser of this process: answers are small, and the texts of the last answer stay in it.
bool parse(std::string_view body, dom::object &result) {
    static dom::parser *parser = new dom::parser;
    if (body.size() > kMaxInfoBytes)
        return false;
    if (parser->capacity() < body.size() &&
        parser->allocate(std::max(body.size(), std::size_t{4096}), kMaxDepth) != simdjson::SUCCESS)
        throw std::bad_alloc();
    dom::element root;
    return parser->parse(body.data(), body.size()).get(root) == simdjson::SUCCESS && root.is_object() &&
           root["result"].get(result) == simdjson::SUCCESS;
}

// Empty if it is no text, or has characters that may not stand in a line of a log or a view.
std::string_view text_of(dom::object object, const char *key) {
    std::string_view text;
    if (object[key].get(text) != simdjson::SUCCESS)
        return {};
    const bool is_clean = std::none_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7F;
    });
    return is_clean ? text : std::string_view();
}

// 0 if it is not a whole number from 0 to `most`.
std::uint64_t number_of(dom::object object, const char *key, std::uint64_t most) {
    std::uint64_t number;
    return object[key].get(number) == simdjson::SUCCESS && number <= most ? number : 0;
}

bool has_capability(dom::object object, std::string_view wanted) {
    dom::array told;
    if (object["capabilities"].get(told) != simdjson::SUCCESS)
        return false;
    for (const dom::element item : told) {
        std::string_view capability;
        if (item.get(capability) == simdjson::SUCCESS && capability == wanted)
            return true;
    }
    return false;
}

bool read_role(dom::object described, ToldRole &role) {
    const std::string_view told = text_of(described, "role");
    if (told == "generation")
        role = ToldRole::Generation;
    else if (told == "embedding")
        role = ToldRole::Embedding;
    else if (told == "reranker")
        role = ToldRole::Reranker;
    else
        return false;
    return true;
}

// False if it is no model, or a model that no call can name.
bool read_model(dom::element element, const InfoLimits &limits, ToldModel &model) {
    dom::object described;
    if (element.get(described) != simdjson::SUCCESS || !read_role(described, model.role))
        return false;
    model.name = text_of(described, "name");
    model.fingerprint = text_of(described, "fingerprint");
    model.dimensions = static_cast<std::int32_t>(number_of(described, "dimensions", kMaxDimensions));
    return model.name.size() <= limits.model_name;
}

void read_models(dom::object result, const InfoLimits &limits, DaemonInfo &info) {
    dom::array told;
    if (result["models"].get(told) != simdjson::SUCCESS)
        return;
    for (const dom::element element : told) {
        ToldModel model;
        if (!read_model(element, limits, model))
            continue;
        if (info.models.size() < kMaxToldModels && model.fingerprint.size() <= limits.fingerprint)
            info.models.push_back(model);
        else
            info.has_more_models = true;
    }
}

}  // namespace

bool read_daemon_info(std::string_view body, const InfoLimits &limits, DaemonInfo &info) {
    info = DaemonInfo{};
    dom::object result;
    if (!parse(body, result))
        return false;
    info.name = text_of(result, "name");
    info.version = text_of(result, "version");
    info.slots = static_cast<std::uint32_t>(number_of(result, "slots", kMaxToldSlots));
    info.resident_bytes = number_of(result, "resident_bytes", kMaxToldMemory);
    info.embeds_batches = has_capability(result, "embed_batch");
    info.counts_tokens = has_capability(result, "count_tokens");
    info.knows_priority = has_capability(result, "priority");
    info.is_loading = text_of(result, "state") == "loading";
    info.has_more_models =
        result["has_more_models"].get(info.has_more_models) == simdjson::SUCCESS && info.has_more_models;
    read_models(result, limits, info);
    return true;
}

bool read_resident_bytes(std::string_view body, std::uint64_t &bytes) {
    dom::object result;
    if (!parse(body, result))
        return false;
    bytes = number_of(result, "resident_bytes", kMaxToldMemory);
    return true;
}

}  // namespace steadytext::core
