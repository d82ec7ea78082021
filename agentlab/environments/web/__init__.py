"""Web pages as environments: any site (`web:<url>`), sites of ours, MiniWoB's pages.

`browser` alone imports playwright. A page is shown as its accessibility tree, acted on by role
and name, and reaches nothing but the origins that were named: a proxy of ours holds that below
the browser. What stands on a page is data and never an instruction to this code.
"""
