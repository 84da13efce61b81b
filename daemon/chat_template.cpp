// Rendering around a mark, and writing prompts: see chat_template.hpp. Regime: pure.
#include "daemon/chat_template.hpp"

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

}  // namespace

ChatTemplate::ChatTemplate(const llama_model *model) {
    try {
        const common_chat_templates_ptr templates = common_chat_templates_init(model, "");
        tokenizer_ = Tokenizer(model, common_chat_templates_source(templates.get()));
        const std::string rendered = render(templates.get(), kMark);
        for (const std::string_view part : split(rendered, kMark))
            parts_.push_back(tokenizer_.parse(part));
        const std::string marks[] = {"\t" + std::string(kMark), std::string(kMark) + "\t"};
        strips_begin_ = render(templates.get(), marks[0]).find(marks[0]) == std::string::npos;
        strips_end_ = render(templates.get(), marks[1]).find(marks[1]) == std::string::npos;
    } catch (const std::exception &error) {
        error_ = std::string("The model's chat template failed: ").append(error.what());
        return;
    }
    if (parts_.size() < 2)
        error_ = "The model's chat template does not show the prompt";
}

std::vector<llama_token> ChatTemplate::tokens(std::string_view prompt) const {
    while (strips_begin_ && !prompt.empty() && kSpaces.find(prompt.front()) != std::string_view::npos)
        prompt.remove_prefix(1);
    while (strips_end_ && !prompt.empty() && kSpaces.find(prompt.back()) != std::string_view::npos)
        prompt.remove_suffix(1);
    PromptWriter writer(tokenizer_);
    for (std::size_t i = 0; i < parts_.size(); i++) {
        if (i > 0)
            writer.add_text(prompt);
        writer.add_markup(parts_[i]);
    }
    return writer.finish();
}

}  // namespace steadytext::daemon
