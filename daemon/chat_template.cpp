// Rendering around a mark, and writing prompts: see chat_template.hpp. Regime: pure.
#include "daemon/chat_template.hpp"

#include <algorithm>
#include <exception>

#include <common/chat.h>

namespace steadytext::daemon {

namespace {

constexpr std::string_view kMark = "@@@prompt@@@";
constexpr std::string_view kSpaces = " \t\n\v\f\r";  // that a template's trim takes away

std::string render(common_chat_templates *templates, std::string_view content) {
    common_chat_msg message;
    message.role = "user";
    message.content = content;
    common_chat_templates_inputs inputs;
    inputs.messages = {message};
    inputs.now = {};  // some templates tell the model the date; the same prompt must have the same answer tomorrow
    return common_chat_templates_apply(templates, inputs).prompt;
}

std::vector<std::string_view> split(std::string_view text, std::string_view mark) {
    std::vector<std::string_view> parts;
    for (std::size_t at = 0; (at = text.find(mark)) != std::string_view::npos; text.remove_prefix(at + mark.size()))
        parts.push_back(text.substr(0, at));
    parts.push_back(text);
    return parts;
}

std::string_view without_spaces_before(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
    return text;
}

std::string_view without_spaces_after(std::string_view text) {
    return text.substr(0, text.find_last_not_of(kSpaces) + 1);
}

}  // namespace

ChatTemplate::ChatTemplate(const llama_model *model) {
    try {
        const common_chat_templates_ptr templates = common_chat_templates_init(model, "");
        tokenizer_ = Tokenizer(model, common_chat_templates_source(templates.get()));
        const std::string rendered = render(templates.get(), kMark);
        for (const std::string_view part : split(rendered, kMark))
            parts_.push_back(tokenizer_.parse(part));
        const std::string marks[] = {std::string("\t").append(kMark), std::string(kMark).append("\t")};
        strips_begin_ = render(templates.get(), marks[0]).find(marks[0]) == std::string::npos;
        strips_end_ = render(templates.get(), marks[1]).find(marks[1]) == std::string::npos;
    } catch (const std::exception &error) {
        error_ = std::string("The model's chat template failed: ").append(error.what());
        return;
    }
    if (parts_.size() < 2)
        error_ = "The model's chat template does not show the prompt";
}

ChatTemplate::Tokens ChatTemplate::tokens(Prompt prompt) const {
    // A word has its space before it in most vocabularies: so a space at the end of the prefix goes to the input.
    const std::string spaced =
        std::string(prompt.prefix.substr(prompt.prefix.find_last_not_of(' ') + 1)) + std::string(prompt.input);
    if (prompt.is_cut) {
        prompt.prefix.remove_suffix(spaced.size() - prompt.input.size());
        prompt.input = spaced;
    }
    if (std::string_view &begin = prompt.prefix.empty() ? prompt.input : prompt.prefix; strips_begin_)
        begin = without_spaces_before(begin);
    if (std::string_view &end = prompt.input.empty() ? prompt.prefix : prompt.input; strips_end_)
        end = without_spaces_after(end);
    PromptWriter writer(tokenizer_);
    Tokens tokens;
    for (std::size_t i = 0; i < parts_.size(); i++) {
        if (i > 0) {
            writer.add_text(prompt.prefix);
            if (i == 1 && prompt.is_cut)
                tokens.prefix = writer.cut();
            writer.add_text(prompt.input);
        }
        writer.add_markup(parts_[i]);
    }
    tokens.all = writer.finish();
    return tokens;
}

}  // namespace steadytext::daemon
