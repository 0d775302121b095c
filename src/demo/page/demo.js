<p>todo</p>
