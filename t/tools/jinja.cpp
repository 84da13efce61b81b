// Templates in, what becomes of them out: for each template, its variables and a mode ("strict" or "lax"), each ended
// by a NUL, three texts ended by a NUL: the names it takes, separated by commas, or "error"; its SQLSTATE or ""; what
// it renders, or the message.
//
// Run by t/tools/jinja_cases.py, which compares them with Python's. Regime: pure.
#include "src/core/jinja/jinja.hpp"

#include <iostream>

int main() {
    using namespace steadytext::core;
    std::ios::sync_with_stdio(false);
    std::string source, variables, mode;
    while (std::getline(std::cin, source, '\0') && std::getline(std::cin, variables, '\0') &&
           std::getline(std::cin, mode, '\0')) {
        Work work(jinja::kMaxSteps);
        Problem problem;
        std::vector<std::string> names;
        std::string out;
        if (jinja::check(source, work, names, problem))
            for (std::size_t i = 0; i < names.size(); i++)
                std::cout << (i > 0 ? "," : "") << names[i];
        else
            std::cout << "error";
        const bool good = jinja::render(source, variables, mode == "strict", work, out, problem = {});
        std::cout << '\0' << (good ? "" : problem.sqlstate) << '\0' << (good ? out : problem.message) << '\0';
    }
}
