// How often the host waits for the device in a training step, counted by the emulator, with the trainer as the program
// makes it: once, for losses, norms and clip norms together.
#include <catch2/catch.hpp>
#include <tuple>
#include <utility>

#include "kernels/simt/runtime.h"
#include "tests/backends.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

using namespace govtrain;
using govtrain::testing::TinyRun;

TEST_CASE("a training step waits for the device once, however it is computed; what needs more waits is known") {
  const bool observed = std::exchange(simt::settings().observe, false);
  const TinyRun tiny;
  const auto completes = [](const ForwardResult& forward, RouteTable&) { CHECK(forward.nll.front() > 0); };
  for (const auto& [name, overrides, complete, waits] :
       std::vector<std::tuple<std::string, std::vector<std::string>, CompleteRoute, int>>{
           {"as it is", {}, {}, 1},
           {"micro-batches", {"train.micro_batch_tokens=70"}, {}, 1},
           {"not clipped", {"optim.clip=0"}, {}, 1},
           {"without norms", {"lineage.norms=false"}, {}, 1},
           {"sgd", {"optim.kind=sgd", "optim.momentum=0.9"}, {}, 1},
           {"all computed", {"routing.skip=false"}, {}, 1},
           {"optimizer", {"routing.enforcement=optimizer"}, {}, 1},
           {"loss", {"routing.enforcement=loss"}, {}, 1},
           {"gates", {"routing.technique=[boundary, attention_gate]"}, {}, 1},
           {"plain", {"train.routing=false"}, {}, 1},
           {"quarantine", {"routing.withheld=quarantine"}, {}, 2},
           {"shadow, not clipped", {"routing.withheld=shadow", "optim.clip=0"}, {}, 2},
           {"completed after the forward pass", {}, completes, 2}}) {
    INFO(name);
    std::vector<std::string> settings = overrides;
    settings.insert(settings.end(), {"run.device=cuda", "run.out=run"});
    settings.push_back("data.inputs=[" + tiny.path("corpus.jsonl") + "]");
    const auto file = read_run_config(tiny.path("config.yaml"), settings);
    file->diagnostics.throw_if_errors();
    Session session(real_file_system(), file->config, policy_date(file->config));
    REQUIRE(session.backend.name() == "emulated cuda");
    for (uint64_t step = 0; step < 3; ++step) {
      Batch batch = session.sampler->next();
      RouteTable route = session.route(batch);
      arrange(batch, route, session.trainer->skip_plan());
      simt::take_waits();
      const StepResult result = session.trainer->step(Session::train_batch(batch), route, step, 0.01, complete);
      CHECK(simt::take_waits() == waits);
      CHECK_FALSE(result.non_finite);
      CHECK(std::find(result.stepped.begin(), result.stepped.end(), true) != result.stepped.end());
    }
  }
  simt::settings().observe = observed;
}
