// What the shelf knows of a model, loaded or not. Only for the files of model_shelf.hpp, whose thread alone reads it.
// Regime: pure.
#pragma once

#include "daemon/model_file.hpp"
#include "daemon/model_shelf.hpp"

namespace steadytext::daemon {

class ModelShelf::Entry {
public:
    enum class State { Unloaded, Loading, Loaded, Leaving };  // Leaving: its memory is not free yet

    Role role = Role::Generation;
    ModelInfo info;
    ModelFile file;
    FileIdentity identity;
    std::uint64_t memory = 0;
    bool is_named = false;  // on the command line: it stays loaded
    bool is_gone = false;   // its file is, or is another one now
    bool was_tried = false;
    std::string why_not;  // it cannot be used
    Clock::time_point why_not_until = {};
    State state = State::Unloaded;
    bool takes_no_more = false;  // loaded, but others are to have its memory
    Engine engine;
    std::deque<AnyJob> waiting;  // for the engine
    int users = 0;               // requests that are not over
    Clock::time_point last_used = {};
    Clock::time_point began = {};  // to load
    Clock::time_point loaded = {};
};

}  // namespace steadytext::daemon
