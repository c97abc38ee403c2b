// A schema and its values as text: resolved or commented YAML, JSON Schema, Markdown, canonical JSON. Output only.
#pragma once

#include <string>

#include "core/config/loader.h"
#include "core/config/schema.h"

namespace govtrain {

// The values now, nested, in declaration order; reads back to the same values. With `with_docs` each key has a comment
// with its meaning, type and range; with `loaded` each line says where its value came from.
std::string to_yaml(const Schema& schema, bool with_docs, const LoadedConfig* loaded = nullptr);

// JSON Schema, draft 2020-12, for editors; unknown keys are refused.
std::string json_schema(const Schema& schema);

// One table per section: key, type, default, meaning.
std::string markdown_reference(const Schema& schema);

// The values now as one line of JSON, nested, keys in byte order, numbers in shortest form: the same bytes for the same
// values on every machine.
std::string canonical_json(const Schema& schema);

}  // namespace govtrain
