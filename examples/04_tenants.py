"""An agent for each customer: what one's users teach it stays theirs until you promote it.

Feedback becomes the score of the attempt, and with that the outcome of every skill that was
offered there. With learning on, what succeeds is distilled and served once it was verified.
"""

import agentlab

if __name__ == "__main__":  # attempts run in worker processes, which import this file
    with agentlab.Agent("courier", tenant="acme", user="ann", learning="on") as agent:
        for event in agent.stream("Go to the market."):
            print(type(event).__name__)
        for task in agent.tasks(3, seed=1):
            result = agent.run(task, timeout=60)
            agent.feedback(result, success=result.success, comment="said by ann")
        report = agent.learn()
        print(f"learnt from {report.solved} of {report.attempts} attempts of {agent.scope}")
        print(f"{report.candidates} candidates, admitted: {', '.join(report.admitted) or 'none'}")
    with agentlab.Agent("courier", tenant="other") as stranger:
        result = stranger.run("Go to the market.")
        print("others were offered", ", ".join(result.skills_offered) or "nothing")
