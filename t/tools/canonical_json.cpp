// Documents in, each ended by a NUL; their canonical forms out, a line each, empty for what is not JSON.
//
// Run by t/tools/json_cases.py, which compares the lines with Python's. Regime: pure.
#include "src/core/canonical_json.hpp"

#include <iostream>

int main() {
    using namespace steadytext::core;
    std::ios::sync_with_stdio(false);
    std::string text, form;
    while (std::getline(std::cin, text, '\0')) {
        const std::size_t size = text.size();
        text.append(PaddedText::kPadding, ' ');
        Problem problem;
        std::cout << (canonical_json({{text.data(), size}}, form, problem) ? form : "") << '\n';
    }
}
